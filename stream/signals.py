"""Ctrl-C and the like, as a call on the event loop."""

import asyncio
import signal
from collections.abc import Callable


def on_stop_signal(callback: Callable[[], None]) -> None:
    """Call `callback` on the loop at SIGINT and SIGTERM, also where the loop cannot listen for signals (Windows)."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, callback)
        except NotImplementedError:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))
