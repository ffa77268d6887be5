"""A trial that says nothing for too long is ended, whatever the wall clock does."""

from types import SimpleNamespace
from typing import Any

from taskgroup.search.engine.watchdog import Watchdog


class Clock:
    """A clock that stands still until it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def trial(name: str) -> Any:
    return SimpleNamespace(
        trial_id=name, temporary_state=SimpleNamespace(ray_actor=f"actor of {name}")
    )


def watched(seconds: float) -> tuple[Watchdog, Clock, list[str], dict[str, str]]:
    clock, killed, reasons = Clock(), list[str](), dict[str, str]()
    dog = Watchdog(seconds, why_lost=reasons.__setitem__, clock=clock, kill=killed.append)
    return dog, clock, killed, reasons


def test_only_the_silent_trial_is_ended_and_only_once() -> None:
    dog, clock, killed, reasons = watched(60)
    loud, silent = trial("a"), trial("b")
    for one in (loud, silent):
        dog.on_trial_start(0, [loud, silent], one)
    clock.now += 50
    dog.on_trial_result(1, [loud, silent], loud, {})
    clock.now += 20
    for step in range(3):
        dog.on_step_end(step, [loud, silent])
    assert killed == ["actor of b"]
    assert "60 s" in reasons["b"]
    assert "a" not in reasons


def test_a_trial_that_ended_is_not_watched() -> None:
    dog, clock, killed, _ = watched(60)
    complete, failed = trial("a"), trial("b")
    for one in (complete, failed):
        dog.on_trial_start(0, [complete, failed], one)
    dog.on_trial_complete(1, [complete, failed], complete)
    dog.on_trial_error(1, [complete, failed], failed)
    clock.now += 1000
    dog.on_step_end(2, [complete, failed])
    assert killed == []
