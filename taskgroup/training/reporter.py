"""What ``fit`` tells while it runs."""

from typing import Protocol

from taskgroup.results.records import EpochRow


class Reporter(Protocol):
    """Receives the progress of one trial; an exception it raises ends the training there."""

    def started(self, output_dimension: int) -> None:
        """Called once, right before the first batch is drawn."""

    def epoch(self, row: EpochRow) -> None:
        """Called after each epoch; the epoch's checkpoint is already on disk."""
