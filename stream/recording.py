"""Read a recording: the clip, its side file, and whether the two are whole and belong together."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from stream.address import sample_clip
from stream.errors import ConfigError
from stream.run import PacketArrival, Run, read_run
from stream.sound import check_sound
from stream.tape import SIDE_SUFFIX, SUFFIX, side_path

FOREIGN_SHARE = 0.02  # of the keyframes in other places: the side file is of another clip


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be replayed.

    clip          the video
    run           its side file, cut to the packets that the clip has (it may have more); None when there is none
    packets       in the clip
    is_cut_short  the end of a file is missing: the program was killed, or a copy is not whole; the rest is sound
    notes         what a person should know, one line each
    """

    clip: Path
    run: Run | None
    packets: int
    is_cut_short: bool = False
    notes: tuple[str, ...] = ()


def open_recording(path: Path, *, require_side: bool = False) -> Recording:
    """Return the recording that a clip or its side file belongs to. Reads both to the end; blocks.

    Raises ConfigError of one line when it cannot be replayed. With `require_side` a video of any other origin
    cannot, for nobody knows when its packets arrived.
    """
    clip = _clip_of(path)
    if not clip.is_file():
        raise ConfigError(f"{clip}: there is no such file")
    keyframes, has_end = _scan(clip)
    run = _read_side(clip, require_side)
    if run is None:
        return Recording(clip, None, len(keyframes))
    notes = []
    is_cut_short = run.is_cut_short or not has_end or len(keyframes) != len(run.packets)
    if is_cut_short:
        notes.append(f"{clip.name} was cut short; what was recorded before is used")
    _check_same(clip, keyframes, run.packets)
    if len(keyframes) < len(run.packets):
        notes.append(
            f"{clip.name} has {len(keyframes)} packets and its side file tells of {len(run.packets)}; "
            f"the first {len(keyframes)} are used"
        )
        run = cut(run, len(keyframes))
    elif len(keyframes) > len(run.packets):
        notes.append(_rest_note(clip, len(keyframes), len(run.packets)))
    return Recording(clip, run, len(keyframes), is_cut_short, tuple(notes))


def _rest_note(clip: Path, packets: int, told: int) -> str:
    """Say what becomes of packets that the side file does not tell of: stream/timeline.py lets them come so."""
    rest, them = (f"the last {packets - told} come", "them") if packets - told > 1 else ("the last one comes", "it")
    return (
        f"{clip.name} has {packets} packets and its side file tells of {told}; "
        f"{rest} at the clip's own rate, and --pace virtual leaves {them} out"
    )


def arrivals(run: Run) -> list[int]:
    """Return when each packet arrived, in ns after the first."""
    return [packet.arrived_ns - run.packets[0].arrived_ns for packet in run.packets]


def cut(run: Run, packets: int) -> Run:
    """Return the run as if it had ended with so many packets: without later frames, and what became of them."""
    if packets >= len(run.packets):
        return run
    end_ns = run.packets[packets].arrived_ns
    kept = [arrival for arrival in run.arrivals if arrival.captured_ns < end_ns]
    seqs = {arrival.seq for arrival in kept}
    return replace(
        run,
        arrivals=kept,
        costs=[cost for cost in run.costs if seqs.intersection(cost.seqs)],
        outcomes=[outcome for outcome in run.outcomes if outcome.seq in seqs],
        ladder=[change for change in run.ladder if change.at_ns < end_ns],
        packets=run.packets[:packets],
    )


def _clip_of(path: Path) -> Path:
    if str(path) in ("sample", "sample:"):
        return Path(sample_clip().target)
    if not path.name.endswith(SIDE_SUFFIX):
        return path
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    return path.with_name(path.name.removesuffix(SIDE_SUFFIX) + SUFFIX)


def _scan(clip: Path) -> tuple[list[bool], bool]:
    """Return which packets of the video are keyframes, and whether its end was written. Decodes nothing."""
    try:
        with closing(av.open(f"file:{clip}", options={"protocol_whitelist": "file"})) as container:
            if not container.streams.video:
                raise ConfigError(f"{clip}: there is no video in it")
            keyframes, is_whole = _keyframes(container)
            has_end = is_whole and container.duration is not None
    except FFmpegError as error:
        raise ConfigError(f"{clip}: is not a video that can be read ({error.strerror}); try ffplay on it") from error
    if not keyframes:
        raise ConfigError(f"{clip}: there is not one picture in it")
    return keyframes, has_end


def _keyframes(container: InputContainer) -> tuple[list[bool], bool]:
    """Return which packets are keyframes, and whether they could be read to the end."""
    found: list[bool] = []
    try:
        for packet in container.demux(container.streams.best("video") or container.streams.video[0]):
            if packet.size:
                found.append(packet.is_keyframe)  # noqa: PERF401  (what came before an error counts)
    except FFmpegError:
        return found, False
    return found, True


def _read_side(clip: Path, is_required: bool) -> Run | None:
    side = side_path(clip)
    try:
        with side.open(encoding="utf-8") as lines:
            run = read_run(lines, side.name)
    except FileNotFoundError:
        if is_required:
            raise ConfigError(
                f"{clip.name} has no side file {side.name} beside it; record with `livelens record`, "
                "or replay with --pace realtime"
            ) from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{side}: cannot be read: {error}") from error
    check_sound(run, side.name)
    if is_required and not run.packets:
        raise ConfigError(f"{side.name}: tells of no packet; replay with --pace realtime")
    return run


def _check_same(clip: Path, keyframes: Sequence[bool], packets: Sequence[PacketArrival]) -> None:
    """Raise ConfigError when clip and side file are of different recordings: their keyframes lie elsewhere."""
    pairs = list(zip(keyframes, (packet.is_keyframe for packet in packets), strict=False))
    wrong = sum(mine != told for mine, told in pairs)
    if wrong > FOREIGN_SHARE * sum(mine or told for mine, told in pairs):
        raise ConfigError(
            f"{clip.name} and {side_path(clip).name} are of different recordings: the keyframes do not agree; "
            "keep both files of a recording under one name"
        )
