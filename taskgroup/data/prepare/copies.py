"""Making a smaller copy of a data set once, in the same layout, so that training reads less.

Every file is written beside its place, read back, compared, and then renamed: a copy that was cut
off at any moment holds whole files only, and the same call goes on where it was.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from taskgroup.data.files.numbers import Mask, Numbers, read_numbers, resize_numbers
from taskgroup.data.files.pictures import (
    PIXEL_LIMIT,
    Size,
    check_size,
    opened,
    picture_size,
    read_class_map,
    read_picture,
)
from taskgroup.data.prepare.plans import PLANS, SOURCES, Job, SourceName
from taskgroup.data.readers.taskonomy_encodings import TOP, depth_is_known
from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.paths import is_file

TINY = 100
"""Bytes below which a file that cannot be read is called tiny instead of damaged."""
JOBS_AT_ONCE = 8
"""Files that a process takes at a time."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file; ``problem`` is one line that names it, or empty."""

    state: Literal["written", "kept", "failed"]
    problem: str = ""


@dataclass(frozen=True)
class Prepared:
    """What became of all files.

    Attributes:
        written: Files written now.
        kept: Files that were there already, whole and of the size asked for.
        problems: One line per file that is missing, tiny, truncated, or of a wrong form.
    """

    written: int
    kept: int
    problems: tuple[str, ...]


def prepare(
    name: SourceName,
    source: Path,
    target: Path,
    *,
    size: Size,
    workers: int = 1,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Write a data set in another size: class maps by nearest pixel, all else bilinear.

    Args:
        name: Which data set.
        source: Its folder, or one at most two above it; never written to.
        target: Folder of the copy; whole files of the size in it are kept.
        size: Height and width of every file of the copy.
        workers: Processes; 1 works in this one.
        report: Told of the files done and of all files, after each.

    Raises:
        ConfigError: The copy would overwrite the source.
        DataError: There is no such data set in ``source``.
        ResourceError: The copy cannot be written.
    """
    folder = SOURCES[name](source)
    if target.resolve() == folder.resolve():
        raise ConfigError(f"DEST must be another folder than the data set's, got {target} for both")
    jobs = PLANS[name](folder, target)
    outcomes: list[Outcome] = []
    for outcome in _outcomes(jobs, size, workers):
        outcomes.append(outcome)
        report(len(outcomes), len(jobs))
    states = [outcome.state for outcome in outcomes]
    problems = tuple(outcome.problem for outcome in outcomes if outcome.problem)
    return Prepared(states.count("written"), states.count("kept"), problems)


def parse_size(text: str) -> Size:
    """Height and width from ``256`` or ``336x680``.

    Raises:
        ConfigError: Anything else, a number below 16, or more pixels than a picture may have.

    Example:
        >>> parse_size("336x680"), parse_size("256")
        ((336, 680), (256, 256))
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) >= 16 for part in parts):
        raise ConfigError(
            f"--size must be HEIGHTxWIDTH or one number, each at least 16, got {text!r}; "
            "for example 336x680"
        )
    height, width = int(parts[0]), int(parts[-1])
    if height * width > PIXEL_LIMIT:
        raise ConfigError(
            f"--size must be at most {PIXEL_LIMIT} pixels (8192 x 8192), got {text!r}; take less"
        )
    return height, width


def _outcomes(jobs: Sequence[Job], size: Size, workers: int) -> Iterator[Outcome]:
    """What became of each job, in their order."""
    work = partial(run_job, size=size)
    if workers == 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=_process_context()) as pool:
        yield from pool.map(work, jobs, chunksize=JOBS_AT_ONCE)


def _process_context() -> BaseContext:
    """Processes that import this once, all together where the system can do that."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def run_job(job: Job, size: Size) -> Outcome:
    """Write one file of the copy, unless it is there.

    Raises:
        ResourceError: The copy cannot be written.
    """
    if not is_file(job.source):
        return Outcome("failed", f"{job.source} is missing")
    if _is_done(job, size):
        return Outcome("kept")
    try:
        pixels = _resized(job, size)
    except DataError as error:
        length = job.source.stat().st_size
        tiny = f"{job.source} is tiny ({length} bytes): " if length < TINY else ""
        return Outcome("failed", f"{tiny}{error}")
    with _writing(job.target):
        _write(job.target, pixels)
    return Outcome("written")


def _is_done(job: Job, size: Size) -> bool:
    """Whether the copy has a whole file of the size that is no older than its source."""
    if not is_file(job.target) or job.target.stat().st_mtime < job.source.stat().st_mtime:
        return False
    try:
        with opened(job.target) as image:
            image.load()
            return (image.height, image.width) == size
    except DataError:
        return False


def _resized(job: Job, size: Size) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The file's contents in the new size, ``(H, W)`` or ``(H, W, 3)``."""
    if job.kind == "picture":
        return read_picture(job.source, size, resize=True).transpose(1, 2, 0)
    if job.kind == "labels":
        return read_class_map(job.source, size, resize=True, picture=job.picture or job.source)
    raw = read_numbers(job.source, channels=job.channels)
    if job.picture is not None:
        check_size(job.source, (raw.shape[1], raw.shape[2]), picture_size(job.picture))
    values, valid = resize_numbers(raw, _valid(job, raw), size)
    hole = TOP if job.kind == "depth" else 0
    whole = np.rint(np.where(valid, values, hole))
    stored = whole[0] if job.channels == 1 else whole.transpose(1, 2, 0)
    return stored.astype(np.uint16) if _has_16_bits(job.source) else stored.astype(np.uint8)


def _valid(job: Job, raw: Numbers) -> Mask:
    """Pixels that may be blended into others, ``(H, W)``."""
    if job.kind == "depth":
        return depth_is_known(raw)
    return raw[0] > 0 if job.kind == "disparity" else np.ones(raw.shape[1:], bool)


def _has_16_bits(path: Path) -> bool:
    with opened(path) as image:
        return image.mode.startswith("I")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path} must be written, but {error.strerror or error}; free space there or choose "
            "another DEST, then run the command again: it resumes"
        ) from None


def _write(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write a PNG, read it back, and only then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    Image.fromarray(np.ascontiguousarray(pixels)).save(draft, format="PNG")
    if not _holds(draft, pixels):
        raise OSError("what was written reads back otherwise")
    draft.replace(path)


def _holds(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    try:
        with opened(path) as image:
            return np.array_equal(np.asarray(image), pixels)
    except DataError:
        return False
