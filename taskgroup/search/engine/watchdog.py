"""Ends trials that hang: a worker that says nothing for too long is killed, and its trial is lost.

A lost trial begins again from its last epoch, as after any death of a worker; the record says what
happened if that does not help.
"""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial


class Watchdog(Callback):
    """Looks at the running trials whenever Tune's loop turns; a monotonic clock cannot jump."""

    def __init__(
        self,
        seconds: float,
        *,
        why_lost: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
        kill: Callable[[Any], None] = ray.kill,
    ) -> None:
        """Watch trials.

        Args:
            seconds: How long a trial may be silent.
            why_lost: Told a trial's id and the reason right before its worker is killed.
            clock: Seconds from any point in time, never going back.
            kill: Ends an actor.
        """
        self._seconds = seconds
        self._why_lost = why_lost
        self._clock = clock
        self._kill = kill
        self._heard: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A trial has begun."""
        self._heard[trial.trial_id] = self._clock()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: Any, **_: Any
    ) -> None:
        """A trial has reported."""
        self.on_trial_start(iteration, trials, trial)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: Any
    ) -> None:
        """A trial has ended."""
        self._heard.pop(trial.trial_id, None)

    on_trial_error = on_trial_complete

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """End whoever has been silent for too long."""
        late = self._clock() - self._seconds
        silent = {name for name, heard in self._heard.items() if heard < late}
        if not silent:
            return
        for trial in trials:
            if trial.trial_id in silent:
                self._end(trial)

    def _end(self, trial: Trial) -> None:
        del self._heard[trial.trial_id]
        actor = trial.temporary_state.ray_actor
        if actor is not None:
            self._why_lost(
                trial.trial_id,
                f"ended: it had said nothing for {self._seconds:g} s, search.epoch_timeout",
            )
            self._kill(actor)
