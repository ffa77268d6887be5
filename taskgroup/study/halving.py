"""Asynchronous successive halving: which trials go on at a rung.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar, "A System for Massively
Parallel Hyperparameter Tuning" (2020), in the stopping form that Ray Tune and Syne Tune have.
"""

from collections.abc import Mapping, Sequence

from taskgroup.results.records import TrialResult
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.rung import Rung


def rung_epochs(grace_epochs: int, reduction: int, max_epochs: int) -> tuple[int, ...]:
    """Epochs after which trials are compared, below a full-length trial's last.

    Example:
        >>> rung_epochs(2, 3, 60)
        (2, 6, 18, 54)
    """
    epochs = []
    epoch = grace_epochs
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= reduction
    return tuple(epochs)


def rung_values(
    trial: TrialResult, objectives: Sequence[StudyObjective], rung: int
) -> tuple[float, ...] | None:
    """What a trial brings to a rung: its first values of all objectives at that epoch or later.

    Robust scores may be measured every few epochs only; the first measurement from the rung on is
    taken, whatever came after, so that a resumed trial stands where it stood.

    Args:
        trial: The trial, under way or ended.
        objectives: What is compared.
        rung: Epoch of the rung.

    Returns:
        One value per objective, as measured; None where it has not come so far, or measured nothing
        between the rung and its last epoch, whose values are final.
    """
    names = [objective.metric for objective in objectives]
    for row in trial.epochs:
        if rung <= row.epoch < trial.planned_epochs and all(name in row.metrics for name in names):
            return tuple(float(row.metrics[name]) for name in names)
    return None


class Halving:
    """The rungs of a search and the trials that came to them.

    Built from the records of earlier sessions it stands where they left it, but for the order in
    which trials came, which decides who are the newest of a front longer than ``MOST_RIVALS``.
    Baselines neither stop nor count: they are references, run in full.
    """

    def __init__(
        self,
        objectives: Sequence[StudyObjective],
        rungs: Sequence[int],
        *,
        reduction: int,
        records: Sequence[TrialResult] = (),
    ) -> None:
        """Set up rungs.

        Args:
            objectives: What is compared.
            rungs: Epochs after which trials are compared, rising.
            reduction: At each rung the best 1 / reduction go on.
            records: Trials of earlier sessions, of the same stage.
        """
        self._objectives = tuple(objectives)
        self._rungs = {rung: Rung(reduction) for rung in rungs}
        self._recorded: dict[int, dict[int, tuple[float, ...]]] = {rung: {} for rung in rungs}
        for record in records:
            self.take(record)

    @property
    def recorded(self) -> Mapping[int, Mapping[int, tuple[float, ...]]]:
        """Per rung the vectors that trials brought, by number of the trial; more is better."""
        return self._recorded

    def take(self, record: TrialResult) -> int | None:
        """Enter a trial at every rung that it came to.

        Returns:
            The rung at which it should stop, or None; a rung judges a trial once.
        """
        if record.role == "baseline":
            return None
        stopped = None
        for rung, recorded in self._recorded.items():
            values = rung_values(record, self._objectives, rung)
            if values is None or record.number in recorded:
                continue
            pairs = zip(self._objectives, values, strict=True)
            gains = tuple(objective.sign * value for objective, value in pairs)
            recorded[record.number] = gains
            if not self._rungs[rung].take(gains):
                stopped = rung
        return stopped
