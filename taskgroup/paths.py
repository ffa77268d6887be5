"""Paths that people give: whether something is there, and how a message shows them."""

import os
import stat
from pathlib import Path

from taskgroup.errors import DataError

LONGEST_SHOWN = 255
"""Letters of a path in a message."""


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path.

    Raises:
        DataError: That cannot be told: the path is too long, links lead in a circle, or a folder
            above it cannot be read.
    """
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Whether there is a file at a path.

    Raises:
        DataError: As for :func:`is_folder`.
    """
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    """What stands at a path; 0 for nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError as error:
        raise DataError(
            f"{shown_path(path)} must be a path that can be looked at, but "
            f"{os.strerror(error.errno or 0).lower()}; correct it"
        ) from None


def is_text(name: str) -> bool:
    r"""Whether a name can be written down; Python holds bytes that are not UTF-8 as surrogates.

    Example:
        >>> is_text("café"), is_text("caf\udce9")
        (True, False)
    """
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def shown_path(path: Path | str) -> str:
    r"""A path for a message: bytes that are not UTF-8 are escaped, and what is too long is cut.

    Example:
        >>> shown_path("caf\udce9")
        'caf\\xe9'
    """
    text = os.fsencode(path).decode(errors="backslashreplace")
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
