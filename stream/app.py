"""`livelens serve`: one event loop that owns everything, from start to a clean end."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable

from aiohttp import web

from stream.access import Access
from stream.address import publish_address
from stream.budget import CostModel
from stream.clock import Clock, MonotonicClock
from stream.config import ServeConfig, cache_dir
from stream.coststore import load_costs, save_costs
from stream.device import Device, device_text, open_devices, run_aside
from stream.errors import ConfigError
from stream.lag import LoopLag, hand_over_often
from stream.live import LiveStream
from stream.pipeline import Pipeline
from stream.placement import place
from stream.port import is_loopback
from stream.publish import Publishing
from stream.server import Server
from stream.signals import on_stop_signal
from stream.wiring import expected_load, machine_text, stream_parts

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 4.0  # everything must be closed within five seconds of Ctrl-C


def run(config: ServeConfig, on_ready: Callable[[str], None] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code. Raises ConfigError when it cannot start."""
    logging.getLogger("aioice").setLevel(logging.WARNING)  # its INFO is a line per candidate pair
    hand_over_often()
    with asyncio.Runner() as runner:
        return runner.run(_serve(config, on_ready or _print_address))


async def _serve(config: ServeConfig, on_ready: Callable[[str], None]) -> int:
    stop = asyncio.Event()
    on_stop_signal(stop.set)
    clock = MonotonicClock()
    devices = {device.name: device for device in open_devices(config.device, clock)}
    costs, kept_at, machine = CostModel(), cache_dir() / "costs.json", machine_text(*devices.values())
    await run_aside(clock, lambda: load_costs(kept_at, machine, costs))
    pipelines = {name: Pipeline(device, clock, costs) for name, device in devices.items()}
    lag = LoopLag(clock)
    streams = _placed(config, pipelines, devices, clock)
    shown = ", ".join(device_text(device) for device in devices.values())
    access = Access(config.token, tuple(config.allow_origin), is_loopback=is_loopback(config.host))
    for one in config.streams:
        if one.publish:
            to, output = publish_address(one.publish), streams[one.name].output
            streams[one.name].publishing = Publishing(one.name, to, one.publish_token, output, clock)
    server = Server(streams, lag, shown, clock, access)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        address = await _listen(runner, config.host, config.port)
        on_ready(address)
        await _run_until(stop, streams, pipelines, lag)
    finally:
        await _stop(runner, server, streams)
        has_ended = all([device.close() for device in devices.values()])
        save_costs(kept_at, machine, costs.priors())
    if not has_ended:
        log.warning("a model hangs; leaving without it")
        logging.shutdown()
        os._exit(0)  # a thread inside a native library at the interpreter's end would abort the process
    return 0


def _placed(
    config: ServeConfig, pipelines: dict[str, Pipeline], devices: dict[str, Device], clock: Clock
) -> dict[str, LiveStream]:
    """Return the streams, each on the device that has the least to do; a stream stays where it is put."""
    places = place({one.name: expected_load(one) for one in config.streams}, list(devices))
    streams = {}
    for one in config.streams:
        device, pipeline = devices[places[one.name]], pipelines[places[one.name]]
        streams[one.name] = LiveStream(stream_parts(one, device, clock), pipeline, device, clock)
        if len(devices) > 1:
            log.info("%s: runs on %s", one.name, device.name)
    return streams


async def _run_until(
    stop: asyncio.Event, streams: dict[str, LiveStream], pipelines: dict[str, Pipeline], lag: LoopLag
) -> None:
    """Run the streams until `stop` is set."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(lag.run())]
        tasks += [group.create_task(pipeline.run()) for pipeline in pipelines.values()]
        one_at_a_time = asyncio.Lock()  # two networks that compile at once only take each other's cores
        for stream in streams.values():
            stream.start()
            tasks.append(group.create_task(_play(stream, one_at_a_time)))
            if stream.publishing is not None:
                tasks.append(group.create_task(stream.publishing.run()))
        await stop.wait()
        log.info("stopping")
        for task in tasks:
            task.cancel()


async def _play(stream: LiveStream, one_at_a_time: asyncio.Lock) -> None:
    await stream.warm_up(one_at_a_time)
    await stream.check_in_spare_time()


async def _listen(runner: web.AppRunner, host: str, port: int) -> str:
    """Open the port and return the address to visit."""
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"port {port} is in use on {host}; stop the other program or choose one with --port"
            ) from error
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --host or --port"
        ) from error
    bound = runner.addresses[0][1]
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{bound}/"


async def _stop(runner: web.AppRunner, server: Server, streams: dict[str, LiveStream]) -> None:
    """Close viewers, streams and the port; gives up on what hangs, so that Ctrl-C always ends the program."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await server.sessions.close_all()  # from here on nobody new is let in
            await asyncio.gather(*(stream.stop() for stream in streams.values()))
            await runner.cleanup()
    except TimeoutError:
        log.warning("some part did not stop within %.0f s and was left behind", STOP_TIMEOUT_S)


def _print_address(address: str) -> None:
    print(f"Livelens is running at {address} (Ctrl-C ends it)", flush=True)
