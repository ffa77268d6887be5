"""A table drawn on a terminal, whatever its width: nothing is cut off and no short word broken."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from taskgroup.analysis.tables.base import Row, Table
from taskgroup.wording import breakable

LONGEST_HEADING = 10
"""Letters of a word that a heading of numbers does not break."""
SPACE = 2
"""Characters between two columns."""
UNBROKEN = (40, 13)
"""Letters up to which a word is not broken, where there is room for it and at least."""


def drawn(table: Table, width: int) -> RenderableType:
    """Columns where they fit, else row by row, each number on a line of its own.

    Names are shown as written, not as markup.

    Args:
        table: What to draw.
        width: Characters of a line.
    """
    for unbroken in UNBROKEN:
        widths = _widths(table, width, unbroken=unbroken)
        if widths is not None:
            return _columns(table, widths)
    return Group(*_blocks(table))


def _widths(table: Table, width: int, *, unbroken: int) -> list[int] | None:
    """Characters of each column on lines of a width; None where they are too short for it.

    Numbers get what they need, words at least their longest one, and more where it is left.
    """
    cells = list(zip(table.columns, *(row.cells for row in table.rows), strict=True))
    least, wanted = [], []
    for place, column in enumerate(cells):
        if place in table.numeric:
            lines = [_heading(column[0]), *map(_number, column[1:])]
            least.append(max(len(line) for text in lines for line in text.split("\n")))
            wanted.append(0)
        else:
            words = [word for cell in column for word in breakable(cell).split(" ")]
            least.append(min(unbroken, max(map(len, words))))
            wanted.append(max(map(len, map(breakable, column))) - least[-1])
    spare = width - sum(least) - SPACE * (len(least) - 1)
    share = min(1.0, spare / max(1, sum(wanted)))
    if spare < 0:
        return None
    return [some + int(share * more) for some, more in zip(least, wanted, strict=True)]


def _columns(table: Table, widths: Sequence[int]) -> RenderableType:
    """Columns of numbers have headings and intervals on lines of their own."""
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for place, (name, width) in enumerate(zip(table.columns, widths, strict=True)):
        if place in table.numeric:
            grid.add_column(Text(_heading(name)), justify="right", no_wrap=True, width=width)
        else:
            grid.add_column(Text(name), overflow="fold", width=width)
    for row in table.rows:
        cells = (
            _shown(row, place, _number(cell) if place in table.numeric else breakable(cell))
            for place, cell in enumerate(row.cells)
        )
        grid.add_row(*cells, style=_style(row))
    return Group("", grid, *_notes(table))


def _blocks(table: Table) -> Iterator[RenderableType]:
    """Each row under its words; first the names of those, as far as a reader needs them."""
    words = [place for place in range(len(table.columns)) if place not in table.numeric]
    above = {place: table.columns[place] for place in words}
    yield Text("\n" + " · ".join(above.values()), style="dim")
    for row in table.rows:
        above |= {place: row.cells[place] for place in words if row.cells[place]}
        title = [_shown(row, place, text) for place, text in above.items()]
        yield Text("\n", style=_style(row) or "") + Text(" · ").join(title)
        grid = Grid.grid(padding=(0, 2, 0, 0))
        for place in sorted(table.numeric):
            grid.add_row(Text(table.columns[place]), _shown(row, place, row.cells[place]))
        yield Padding(grid, (0, 0, 0, 2))
    yield from _notes(table)


def _notes(table: Table) -> Iterator[Text]:
    if table.notes:
        yield Text("\n".join(("", *table.notes)), style="dim italic")


def _shown(row: Row, place: int, text: str) -> Text:
    return Text(text, style="bold red" if place in row.alarms else "")


def _style(row: Row) -> str | None:
    return "bold" if row.group == "best" else None


def _number(cell: str) -> str:
    """A number with its interval below it."""
    return cell.replace(" (", "\n(")


def _heading(name: str) -> str:
    """A heading of numbers, word by word."""
    return "\n".join(_hyphenated(word) for word in breakable(name).split(" "))


def _hyphenated(word: str) -> str:
    r"""A word of a heading, which must not make its column of numbers wide.

    Example:
        >>> _hyphenated("background"), _hyphenated("vulnerability")
        ('background', 'vulnera-\nbility')
    """
    if len(word) <= LONGEST_HEADING or not word.isalpha():
        return word
    middle = (len(word) + 1) // 2
    return f"{word[:middle]}-\n{word[middle:]}"
