"""SIGTERM, which a cluster sends before it takes a machine away, ends a command as Ctrl-C does."""

import signal
import threading
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
_terminated = threading.Event()


def handle_sigterm() -> None:
    """Let SIGTERM interrupt this process; only its main thread can say so.

    Called again after each ``ray.init``, whose own handler ends the process in the middle of
    whatever it does.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def exit_status() -> int:
    """What a command exits with that was interrupted: 143 after SIGTERM, else 130."""
    return TERMINATED if _terminated.is_set() else INTERRUPTED


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Do what Ctrl-C does now, and remember that it was none."""
    _terminated.set()
    signal.raise_signal(signal.SIGINT)
