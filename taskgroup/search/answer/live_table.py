"""What a search shows while it runs: a live table on a terminal, else one line per trial."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from taskgroup.results.records import TrialResult
from taskgroup.search.answer.progress import Progress, status_text
from taskgroup.study.agreement import RungAgreement
from taskgroup.wording import (
    breakable,
    format_decimals,
    format_score,
    format_seconds,
    parameters_text,
    plural,
)

COLUMNS = ("trial", "task set", "parameters", "epoch", "clean", "robust", "status")
WRAPPED = ("task set", "parameters")
LINES_BESIDE = 8
"""Lines of a terminal that no row of the live table takes."""
WIDE = 120
"""Columns of a terminal from which on a row's parameters take two lines, not five."""


class Listener(Protocol):
    """Hears of every trial that is planned, measured or ended."""

    def __call__(self, record: TrialResult) -> None:
        """Take in a newer version of a record."""


Show = Callable[[Progress], AbstractContextManager[Listener]]
"""Shows a search while it runs; the listener it gives must hear of every record."""


@contextmanager
def shown(progress: Progress, console: Console | None = None) -> Iterator[Listener]:
    """Show a search on a console, by default stderr: a live table, or lines where that fails."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _LogLines(progress, console)
        return
    lines_per_row = 2 if console.width >= WIDE else 5
    rows = max(3, (console.height - LINES_BESIDE) // lines_per_row)

    def draw() -> Table:
        return study_table(progress, max_rows=rows)

    with Live(get_renderable=draw, console=console, refresh_per_second=2):
        yield progress.update
        rows = progress.total  # the last drawing stays and scrolls, so it holds every trial


class _LogLines:
    """Prints a line when a trial ends."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console

    def __call__(self, record: TrialResult) -> None:
        before = self._progress.records.get(record.number)
        self._progress.update(record)
        has_ended = record.status != "interrupted"
        if has_ended and (before is None or before.status != record.status):
            self._console.print(
                log_line(self._progress, record), highlight=False, markup=False, soft_wrap=True
            )


def log_line(progress: Progress, record: TrialResult) -> str:
    """One line about a trial that ended."""
    stage = progress.name.partition(", ")[2]
    count = f"{progress.num_ended}/{progress.total}"
    parts = [
        f"[{f'{stage} {count}' if stage else count}] trial {record.number} {record.label}",
        parameters_text(record.parameters),
        f"clean {format_score(progress.clean, record.score(progress.clean))}",
        f"robust {format_score(progress.robust, record.score(progress.robust))}",
        f"{record.status}: {record.reason}" if record.reason else record.status,
        caption(progress),
    ]
    return " | ".join(part for part in parts if part)


def caption(progress: Progress) -> str:
    """Best trial so far, whether rungs can be trusted, and time left."""
    best, eta = progress.best, progress.eta()
    parts = []
    if best is not None:
        first = progress.objectives[0]
        parts.append(
            f"best so far: trial {best.number} ({format_score(first.metric, progress.best_value)})"
        )
    if progress.agreements:
        parts.append(agreement_caption(progress.agreements))
    if eta is not None and progress.num_ended < progress.total:
        parts.append(f"about {format_seconds(eta)} left")
    return ", ".join(parts)


def agreement_caption(agreements: Sequence[RungAgreement]) -> str:
    """Rank correlation of each rung with the end for the first objective.

    Example:
        >>> from taskgroup.study.agreement import spearman
        >>> found = spearman([1, 2, 3, 4], [1, 2, 4, 3])
        >>> agreement_caption([RungAgreement(2, "segmentation/robust/miou", found, 0.67)])
        'rank agreement of rung 2 with the end: 0.80 (4 trials)'
    """
    metric = agreements[0].metric
    own = [found for found in agreements if found.metric == metric]
    values = ", ".join(format_decimals(found.spearman.value) for found in own)
    rungs = ", ".join(str(found.epoch) for found in own)
    word = "LOW rank agreement" if any(found.is_low for found in own) else "rank agreement"
    plural = "rungs" if len(own) > 1 else "rung"
    return f"{word} of {plural} {rungs} with the end: {values} ({own[0].trials} trials)"


def study_table(progress: Progress, *, max_rows: int) -> Table:
    """The trials of a search, the best one marked; the latest ``max_rows`` where they are many."""
    best = progress.best
    table = Table(
        title=f"{progress.name}: {progress.num_ended} of {progress.total} "
        f"{plural(progress.total, 'trial')}, "
        f"{format_seconds(progress.seconds)}",
        caption=caption(progress) or "starting",
    )
    for column in COLUMNS:
        is_wrapped = column in WRAPPED
        table.add_column(column, no_wrap=not is_wrapped, overflow="fold")
    for record in _latest(progress, max_rows):
        is_best = best is not None and record.number == best.number
        table.add_row(*row_texts(progress, record), style="bold green" if is_best else None)
    return table


def _latest(progress: Progress, max_rows: int) -> list[TrialResult]:
    records = [progress.records[number] for number in sorted(progress.records)]
    best = progress.best
    hidden = records[:-max_rows]
    if best is not None and best in hidden:
        return [best, *records[1 - max_rows :]]
    return records[-max_rows:]


def row_texts(progress: Progress, record: TrialResult) -> list[str]:
    """The cells of a trial's row, in the order of ``COLUMNS``."""
    epoch = record.epochs[-1].epoch if record.epochs else 0
    return [
        str(record.number),
        breakable(record.label),
        parameters_text(record.parameters),
        f"{epoch}/{record.planned_epochs}",
        format_score(progress.clean, record.score(progress.clean)),
        format_score(progress.robust, record.score(progress.robust)),
        status_text(record),
    ]
