"""`livelens models learn-style`: a painting becomes a style that every stream can use.

Importing this file stays quick; what it needs is imported when it runs.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream import __version__
from stream.errors import ConfigError, ModelError
from stream.progress import note, say

if TYPE_CHECKING:
    from models.learn import Losses, Progress, Student
    from models.stylefile import Row
    from stream.clock import MonotonicClock
    from stream.frame import Picture

NS_PER_S = 1_000_000_000
PREVIEW_EVERY_NS = 5 * NS_PER_S
PICTURES_AT_MOST = 48  # to paint; more are seen less than ten times each
CLIP_FRAMES_AT_MOST = 1800  # looked at in a clip: a minute at 30 fps
WITHIN_PX = (1920, 1080)  # pictures are decoded no larger
PREVIEW_SUFFIXES = (".jpg", ".jpeg", ".png")
MEASURED_ON_EVERY = 30  # n-th picture of the sample clip: twelve for the quality of the lighter scales


Content = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER|CLIP", help="Pictures like those you will paint (default: the sample clip)."),
]
Threads = Annotated[
    int, typer.Option(metavar="N", min=0, max=256, help="CPU threads; 0 takes what is quicker at the moment.")
]


@dataclass(slots=True)
class Course:
    """What a person asked for, checked, and what has come of it so far.

    row      numbers after the last whole step; None before the first
    preview  where the picture of how it goes is written
    """

    name: str
    painting_file: Path
    painting: "Picture"
    pictures: "list[Picture]"
    size: tuple[int, int]  # (height, width)
    path: Path
    preview: Path
    clock: "MonotonicClock"
    row: "Row | None" = None
    is_stopped: bool = False


def learn_style(
    painting: Annotated[Path, typer.Argument(metavar="PAINTING", help="A picture: JPEG, PNG, WebP, BMP or TIFF.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What to call it: style/NAME.")],
    seconds: Annotated[float, typer.Option(metavar="S", min=1, max=3600, help="How long it may take.")] = 60.0,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="How many steps it may take; the first limit counts.")
    ] = 400,
    content: Content = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="The size you will paint at.")] = "640x360",
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to show how it goes (default: beside the style).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, steps and threads: same style.")] = 0,
    threads: Threads = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a learnt style of that name.")] = False,
) -> None:
    """Learn a painting as a style, in about a minute: then -g style/NAME paints in it.

    [cyan]livelens models learn-style starry_night.jpg --name starry[/]

    Ctrl-C keeps what is learnt so far.
    """
    course = _course(painting, name, content, size, preview, overwrite)
    from models.learn import Lesson, Student

    say(f"Learning {painting.name}: choosing the nearest of the built-in styles to start from ...")
    student = Student(Lesson(course.painting, course.pictures, course.size, seconds, steps, seed, threads))
    say(f"Starting from style/{student.nearest}; Ctrl-C keeps what is learnt so far. Preview: {course.preview}")
    started_ns = course.clock.now_ns()
    _learn(course, student)
    took_s = (course.clock.now_ns() - started_ns) / NS_PER_S
    _keep(course, student, took_s, seed)


def _course(
    painting: Path, name: str, content: Path | None, size: str, preview: Path | None, overwrite: bool
) -> Course:
    """Check everything that can be wrong before anything takes time. Raises ConfigError or ModelError."""
    from models.learnt import check_name
    from stream.clock import MonotonicClock
    from stream.still import read_still

    path = check_name(name, overwrite)
    preview = preview or path.with_suffix(".jpg")
    if preview.suffix.lower() not in PREVIEW_SUFFIXES:
        raise ConfigError(f"--preview {preview}: expected a name that ends in {', '.join(PREVIEW_SUFFIXES)}")
    if preview != path.with_suffix(".jpg") and not preview.parent.is_dir():
        raise ConfigError(f"--preview {preview}: there is no folder {preview.parent}; make it first")
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", size)
    if found is None or min(int(found[1]), int(found[2])) < 64:
        raise ConfigError(f"--size {size}: expected WxH from 64x64 to 9999x9999, such as 640x360")
    picture = read_still(painting, WITHIN_PX)
    if min(picture.shape[:2]) < 64:
        raise ConfigError(
            f"{painting.name} has {picture.shape[1]}x{picture.shape[0]} pixels; a painting needs 64 a side at least"
        )
    sides = int(found[2]), int(found[1])
    return Course(name, painting, picture, content_pictures(content), sides, path, preview, MonotonicClock())


def content_pictures(content: Path | None) -> "list[Picture]":
    """Return the pictures to learn on. Raises ConfigError when there are too few."""
    from stream.address import sample_clip

    if content is None:
        content = Path(sample_clip().address)
    if not content.exists():
        raise ConfigError(f"--content {content}: there is no such file or folder")
    found = list(_stills(content)) if content.is_dir() else _frames(content)
    if len(found) < 2:
        raise ConfigError(f"--content {content}: expected two pictures at least, got {len(found)}")
    return found


def _stills(folder: Path) -> "Iterator[Picture]":
    from stream.errors import StillError
    from stream.still import read_still

    count = 0
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if count == PICTURES_AT_MOST:
            return
        try:
            yield read_still(path, WITHIN_PX)
        except StillError:  # a folder of pictures holds other files as well
            continue
        count += 1


def _frames(clip: Path) -> "list[Picture]":
    """Return pictures from all over the first minute of a clip."""
    import av

    from models.picture import resize

    found: list[Any] = []
    try:
        with av.open(str(clip)) as opened:
            stream = opened.streams.video[0]
            stream.thread_type = "AUTO"
            every = max(min(stream.frames or CLIP_FRAMES_AT_MOST, CLIP_FRAMES_AT_MOST) // PICTURES_AT_MOST, 1)
            for index, frame in enumerate(opened.decode(stream)):
                if index >= CLIP_FRAMES_AT_MOST or len(found) == PICTURES_AT_MOST:
                    break
                if index % every == 0:
                    picture: Any = frame.to_ndarray(format="rgb24")
                    by = min(1.0, WITHIN_PX[0] / picture.shape[1], WITHIN_PX[1] / picture.shape[0])
                    found.append(resize(picture, round(picture.shape[0] * by), round(picture.shape[1] * by)))
    except (av.FFmpegError, IndexError, OSError) as error:
        raise ConfigError(f"--content {clip}: expected a folder of pictures or a video: {error}") from error
    return found


def _learn(course: Course, student: "Student") -> None:
    """Take the steps; Ctrl-C ends them. Without a whole step it goes on to the command line's own end."""
    shown_ns = course.clock.now_ns()
    try:
        with bar_of("learning") as tell:
            for progress in student.learn(course.clock):
                course.row = student.row()
                tell(progress)
                if course.clock.now_ns() - shown_ns >= PREVIEW_EVERY_NS:
                    _show(course, student)
                    shown_ns = course.clock.now_ns()
    except KeyboardInterrupt:
        if course.row is None:
            raise
        course.is_stopped = True


@contextmanager
def bar_of(what: str) -> "Iterator[Callable[[Progress], None]]":
    """Give a function that shows progress where stderr is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.fields[told]}"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, told="")
        smooth: list[float] = []

        def tell(progress: "Progress") -> None:
            smooth.append(progress.loss)
            del smooth[:-20]  # a step sees one crop of one picture: their mean is what falls
            loss = sum(smooth) / len(smooth)
            told = f"step {progress.step}  loss {loss:.2f}  {progress.left_s:.0f} s left"
            bar.update(task, completed=progress.share, told=told)

        yield tell


def _show(course: Course, student: "Student") -> None:
    """Write the painting, a picture and what the style makes of it, side by side."""
    import cv2
    import numpy as np

    from models.picture import resize

    height, width = (side // 4 * 4 for side in course.size)
    image = resize(course.pictures[len(course.pictures) // 4], height, width)
    painting = course.painting
    shown = resize(painting, height, max(round(painting.shape[1] * height / painting.shape[0]), 1))
    course.preview.parent.mkdir(parents=True, exist_ok=True)
    strip = np.hstack([shown, image, student.paint(image)])
    if not cv2.imwrite(str(course.preview), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR)):
        note(f"the preview {course.preview} cannot be written")


def _keep(course: Course, student: "Student", took_s: float, seed: int) -> None:
    """Write the style, measure its lighter scales, and say what there is now."""
    from models import stylefile

    assert course.row is not None
    after = student.losses()
    about = _about(course, student, after, took_s, seed)
    stylefile.write(course.path, stylefile.StyleFile(course.row, about))
    stylefile.forget_tuned(course.name)  # it was tuned as the style that is now replaced
    _show(course, student)
    print(
        f"style/{course.name}: learnt from {course.painting_file.name} in {took_s:.0f} s, {student.step} steps"
        f"{' (stopped)' if course.is_stopped else ''}; on pictures it did not see, "
        f"style loss {student.before.style:.3f} -> {after.style:.3f}, "
        f"content loss {student.before.content:.2f} -> {after.content:.2f}"
    )
    try:
        qualities = _measure(course)
    except KeyboardInterrupt:
        print("stopped: its lighter scales are not measured, so it has none in its ladder")
    else:
        kept = {**about, "qualities": json.dumps(qualities)}
        stylefile.write(course.path, stylefile.StyleFile(course.row, kept))
        print("lighter scales (SSIM against full scale): " + ", ".join(f"{k} {v}" for k, v in qualities.items()))
    print(f"kept in {course.path}\npreview {course.preview}\nuse it:  livelens serve -g style/{course.name}:where=all")


def _about(course: Course, student: "Student", after: "Losses", took_s: float, seed: int) -> dict[str, str]:
    from importlib.metadata import version

    return {
        "painting": course.painting_file.name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": f"livelens {__version__}, torch {version('torch')}",
        "start": f"style/{student.nearest}",
        "style_loss": f"{student.before.style:.4f} -> {after.style:.4f}",
        "content_loss": f"{student.before.content:.4f} -> {after.content:.4f}",
        "steps": f"{student.step}, {took_s:.1f} s, seed {seed}",
        "size": f"{course.size[1]}x{course.size[0]}",
    }


def _measure(course: Course) -> dict[str, float]:
    """Return the quality of each smaller scale by option, as models/ladder.py has it for the built-in styles."""
    from models.base import Target
    from models.quality import measure_scales, sample_pictures

    try:
        found = measure_scales(f"style/{course.name}", sample_pictures(MEASURED_ON_EVERY), Target("cpu"))
    except ModelError as error:
        raise ModelError(f"style/{course.name} is kept, but cannot be run: {error}") from error
    return {option: max(round(quality.value, 2), 0.0) for option, quality in found.items()}


def register(models: typer.Typer) -> None:
    """Add the command to `livelens models`."""
    models.command("learn-style", short_help="Learn a painting as a style, in about a minute.")(learn_style)
