"""Giving freed memory back to the system between pieces of work.

glibc keeps blocks below 32 MB in its heap when they are freed. An attack frees thousands of them of
many sizes, and the holes add up: measured, 500 images with 150 classes at 128 pixels grew from 1 to
6 GB in 1500 shards, none of which needs more than 1.3 GB.
"""

import ctypes
import sys
from collections.abc import Callable
from functools import lru_cache


def release_freed_memory() -> None:
    """Return the holes of the heap to the system; nothing happens where there is no glibc."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
