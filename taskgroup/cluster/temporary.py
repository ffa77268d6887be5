"""Where the processes of a Ray cluster meet: a folder short enough for their sockets."""

import os

from taskgroup.errors import ResourceError

VARIABLE = "RAY_TMPDIR"
"""Ray's own setting: the folder below which a cluster keeps its sockets and logs."""
USUAL = "/tmp"
MOST_BYTES = 39
"""A socket's path has 107 bytes at most, of which Ray's own part takes 68:
``/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store``."""


def ray_folder() -> str:
    """The folder for a new cluster: ``RAY_TMPDIR``, else ``TMPDIR`` where it will do, else /tmp.

    Raises:
        ResourceError: None will do: it is too long, or cannot be written.
    """
    asked = os.environ.get(VARIABLE)
    folders = [asked] if asked else [os.environ.get("TMPDIR") or USUAL, USUAL]
    problems = {folder: _problem(folder) for folder in dict.fromkeys(folders)}
    for folder, problem in problems.items():
        if problem is None:
            return os.path.abspath(folder)
    found = ", ".join(f"{folder} {problem}" for folder, problem in problems.items())
    raise ResourceError(
        f"Ray needs a folder for its sockets that can be written and has at most {MOST_BYTES} "
        f"bytes in its path, but {found}; set {VARIABLE} to such a folder"
    )


def _problem(folder: str) -> str | None:
    """Why Ray cannot use a folder, as the end of a sentence."""
    path = os.path.abspath(folder)
    size = len(os.fsencode(path))
    if size > MOST_BYTES:
        return f"has {size}"
    try:
        path.encode()
        os.makedirs(os.path.join(path, "ray"), exist_ok=True)
    except UnicodeEncodeError:
        return "is not UTF-8"
    except OSError as error:
        return f"cannot be written ({(error.strerror or str(error)).lower()})"
    return None if os.access(os.path.join(path, "ray"), os.W_OK | os.X_OK) else "cannot be written"
