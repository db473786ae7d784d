"""From the last packet to the screen: what viewers report, made into one number that deadlines can rely on. Pure.

A viewer measures the difference between its clock and ours (see stream/page/timing.js) and reports when each frame was
shown, on our clock.
"""

from collections import OrderedDict, deque

from stream.clock import NS_PER_MS, NS_PER_S
from stream.stats import Distribution

REMEMBERED = 300  # frames that may still be reported; ten seconds at 30 a second
SAMPLES = 90  # reports of one viewer that count, three seconds
LEAST_SAMPLES = 15  # before it is believed
SILENT_NS = 3 * NS_PER_S  # a viewer that reported nothing of what was sent since counts no more: a hidden tab
TOLERANCE_NS = 20 * NS_PER_MS  # a report may be so much before its packets left: clocks agree to some milliseconds
MOST_NS = 10 * NS_PER_S  # a later report is a mistake, or a paused page
MOST_SHARE = 0.5  # of the budget that the way to the screen may take away: a bad network must not stop the models


class Glass:
    """Reports of all viewers of one stream."""

    def __init__(self, budget_ns: int) -> None:
        self.capture_to_shown = Distribution()
        self.to_screen = Distribution()  # from the last packet to the screen
        self.refused = 0  # reports that cannot be true
        self._most_ns = round(budget_ns * MOST_SHARE)
        self._sent: OrderedDict[int, tuple[int, int]] = OrderedDict()  # seq -> (captured, sent)
        self._by_viewer: dict[str, deque[int]] = {}  # sent -> shown, in ns; newest last
        self._newest: dict[str, tuple[int, int]] = {}  # (seq, sent) of each viewer's newest report
        self._sent_ns = 0  # when the newest frame left

    def sent(self, seq: int, captured_ns: int, sent_ns: int) -> None:
        """Remember when a frame left."""
        self._sent[seq] = captured_ns, sent_ns
        self._sent_ns = sent_ns
        while len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def shown(self, viewer: str, seq: int, shown_ns: int) -> None:
        """Take a viewer's report of when a frame was on its screen."""
        known = self._sent.get(seq)
        last_seq = self._newest.get(viewer, (-1, 0))[0]
        if known is None or seq <= last_seq or not -TOLERANCE_NS <= shown_ns - known[1] <= MOST_NS:
            self.refused += 1
            return
        captured_ns, sent_ns = known
        self._newest[viewer] = seq, sent_ns
        self.capture_to_shown.add((shown_ns - captured_ns) / NS_PER_MS)
        self.to_screen.add((shown_ns - sent_ns) / NS_PER_MS)
        self._by_viewer.setdefault(viewer, deque(maxlen=SAMPLES)).append(max(0, shown_ns - sent_ns))

    def summary(self) -> dict[str, object]:
        """Return the distributions for the API; empty while nobody reports."""
        if not self.capture_to_shown.count:
            return {}
        return {"capture_to_shown": self.capture_to_shown.summary(), "to_screen": self.to_screen.summary()}

    def left(self, viewer: str) -> None:
        """Forget a viewer."""
        self._by_viewer.pop(viewer, None)
        self._newest.pop(viewer, None)

    def downstream_ns(self) -> int:
        """Return what to take off the budget: the worst viewer's median, within reason; 0 while nobody reports.

        The median, since a single late picture is the viewer's own; the worst, since all get the same packets.
        """
        heard = [one for viewer, one in self._by_viewer.items() if self._newest[viewer][1] > self._sent_ns - SILENT_NS]
        medians = [sorted(one)[len(one) // 2] for one in heard if len(one) >= LEAST_SAMPLES]
        return min(self._most_ns, max(medians, default=0))
