"""How far an evaluation is: a bar with the time left on a terminal, else a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from taskgroup.wording import format_seconds

LINES = 10
"""How many lines tell of an evaluation where there is no terminal."""


@contextmanager
def progress_bar(console: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """Show progress on a console, by default stderr; the function it gives must be told of it."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _LogLines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("evaluate", total=None)
        yield lambda done, total, label: bar.update(
            task, completed=done, total=total, description=label
        )


class _LogLines:
    """Prints a line whenever a further tenth of the work is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._first: float | None = None
        self._tenths = 0

    def __call__(self, done: int, total: int, label: str) -> None:
        share = done / max(total, 1)
        seconds = time.monotonic() - self._begin
        if self._first is None:  # what an earlier evaluation had done took no time
            self._first, self._begin = share, time.monotonic()
        if int(LINES * share) <= self._tenths:
            return
        self._tenths = int(LINES * share)
        gained = share - self._first
        is_known = gained > 0 and share < 1
        left = f", about {format_seconds(seconds / gained * (1 - share))} left" if is_known else ""
        self._console.print(
            f"evaluated {100 * share:.0f} %{left}: {label}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
