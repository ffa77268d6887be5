"""Fixtures of the scenes' tests."""

import os
import traceback
import warnings
from collections.abc import Callable

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded numpy generator."""
    return np.random.default_rng(0)


@pytest.fixture
def forked() -> Callable[[Callable[[], None]], Callable[[], int]]:
    """Start a function in a process of its own; the answer waits for its exit status."""
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")

    def start(body: Callable[[], None]) -> Callable[[], int]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns where threads live
            child = os.fork()
        if child == 0:
            try:
                body()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        return lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    return start
