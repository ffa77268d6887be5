"""What an attack has freed goes back to the system."""

import sys
from pathlib import Path

import pytest
import torch

from taskgroup.evaluation.shards.freed_memory import release_freed_memory

MEGABYTE = 2**20


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_holes_in_the_heap_are_given_back():
    release_freed_memory()
    before = resident()
    blocks = [torch.ones(16 * 1024) for _ in range(2000)]  # 64 KB each, below any threshold
    kept = blocks[::400]
    del blocks
    full = resident()
    release_freed_memory()
    after = resident()
    assert len(kept) == 5
    assert full - before > 60 * MEGABYTE
    assert after - before < 30 * MEGABYTE
