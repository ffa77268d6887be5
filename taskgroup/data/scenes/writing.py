"""Rendering many scenes into ``.npy`` files, by this process and, for much work, by helpers.

Plain writes, not memory maps: a full disk is then an error to report, not a fatal signal.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from taskgroup.data.base import Split
from taskgroup.data.scenes.labels import Format
from taskgroup.data.scenes.render import STORED, render

REQUEST_FILE = "request.json"
CLAIMS = "claims"
CHUNK_PIXELS = 2**19
"""Pixels that a process renders before it writes them and takes the next piece of work."""
SOLO_PIXELS = 2**23
"""Pixels up to which other processes would cost more time to start than they save."""


@dataclass(frozen=True)
class SceneRequest:
    """The first ``count`` samples of one stream of scenes, at one size in pixels."""

    seed: int
    split: Split
    size: int
    count: int


def entry_bytes(request: SceneRequest) -> int:
    """Size of all files of an entry."""
    sample = sum(_row_bytes(form, request.size) for form in STORED.values())
    return request.count * sample


def write_entry(folder: Path, request: SceneRequest, *, helpers: int) -> None:
    """Render a request into an empty folder: one ``.npy`` file per name in ``STORED``.

    Args:
        folder: An empty folder.
        request: What to render.
        helpers: Processes to start beside this one; see :func:`helpers_worth`.

    Raises:
        OSError: The folder cannot be written, or its disk is full.
    """
    _create_files(folder, request)
    (folder / CLAIMS).mkdir()
    (folder / REQUEST_FILE).write_text(json.dumps(asdict(request)))
    started = [_start_helper(folder) for _ in range(helpers)]
    try:
        render_chunks(folder)
        for process in started:
            _wait_for(process)
    finally:
        for process in started:
            _end(process)
    for claim in (folder / CLAIMS).iterdir():
        claim.unlink()
    (folder / CLAIMS).rmdir()


def render_chunks(folder: Path) -> None:
    """Render pieces of a folder's request until every piece is rendered or taken.

    Any number of processes may do so at once; each piece is claimed by creating a file.
    """
    request = SceneRequest(**json.loads((folder / REQUEST_FILE).read_text()))
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("r+b")) for name in STORED}
        starts = {name: _header_bytes(file) for name, file in files.items()}
        for rows in _claimed(folder, request):
            samples = [render(request.seed, request.split, row, size=request.size) for row in rows]
            for name, file in files.items():
                file.seek(starts[name] + rows.start * _row_bytes(STORED[name], request.size))
                file.write(b"".join(sample[name].tobytes() for sample in samples))
                file.flush()


def _claimed(folder: Path, request: SceneRequest) -> Iterator[range]:
    """Pieces of the request that nobody else has claimed, claimed now."""
    length = max(1, CHUNK_PIXELS // request.size**2)
    for start in range(0, request.count, length):
        try:
            (folder / CLAIMS / str(start)).touch(exist_ok=False)
        except FileExistsError:
            continue
        yield range(start, min(start + length, request.count))


def _create_files(folder: Path, request: SceneRequest) -> None:
    for name, form in STORED.items():
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(form.dtype)),
            "fortran_order": False,
            "shape": (request.count, *form.shape(request.size)),
        }
        with (folder / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)


def _header_bytes(file: BinaryIO) -> int:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()


def _row_bytes(form: Format, size: int) -> int:
    return int(np.prod(form.shape(size), dtype=np.int64)) * np.dtype(form.dtype).itemsize


def helpers_worth(request: SceneRequest) -> int:
    """Processes to start beside this one: none for a few seconds of work."""
    pixels = request.count * request.size**2
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min((cores or 1) - 1, pixels // SOLO_PIXELS)


_HELPER = (
    "import sys; from pathlib import Path; sys.path.append(sys.argv[1]);"
    "from taskgroup.data.scenes.writing import helper; helper(Path(sys.argv[2]))"
)


def _start_helper(folder: Path) -> subprocess.Popen[str]:
    """Start a process that renders chunks of ``folder``.

    A command of its own, not ``multiprocessing``: forking a process that has threads is unsafe, and
    spawning would run the user's main module once more.
    """
    parent = Path(__file__).parents[3]
    command = [sys.executable, "-c", _HELPER, str(parent), str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def _wait_for(process: subprocess.Popen[str]) -> None:
    _, problems = process.communicate()
    if process.returncode:
        lines = problems.strip().splitlines() or [f"exit status {process.returncode}"]
        raise OSError(None, f"a process that rendered ended early ({lines[-1]})")


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that still runs, and release its pipe."""
    process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def helper(folder: Path) -> None:
    """Body of a helper process; the last line it prints says what went wrong."""
    try:
        render_chunks(folder)
    except OSError as error:
        sys.exit(error.strerror or str(error))
