"""SIGTERM ends a command as Ctrl-C does, with a status of its own."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from taskgroup import termination

CODE = """
import os, signal, typer
from taskgroup.cli import app

@app.command()
def wait():
    os.kill(os.getpid(), signal.{name})
    signal.pause()

app(["wait"])
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_command_says_that_it_was_interrupted(name, status):
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(name=name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert done.stderr == (
        "taskgroup: interrupted; the same command continues with what is finished\n"
    )


def test_only_the_main_thread_can_say_so():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=termination.handle_sigterm)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_handler_of_the_moment_is_asked(monkeypatch):
    """Tune's own, while it runs: it ends trials between two epochs."""
    monkeypatch.setattr(termination, "_terminated", threading.Event())
    seen = []
    before = (
        signal.getsignal(signal.SIGTERM),
        signal.signal(signal.SIGINT, lambda *_: seen.append(1)),
    )
    try:
        termination.handle_sigterm()
        assert termination.exit_status() == 130
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [1]
        assert termination.exit_status() == 143
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
