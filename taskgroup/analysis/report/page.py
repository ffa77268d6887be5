"""Pieces of the report's HTML. Every name is escaped here and nowhere else."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from taskgroup.analysis.groups import STYLES, Group
from taskgroup.analysis.report.headline import Headline, Standing
from taskgroup.analysis.report.panels import Cell, PanelBlock, PanelData
from taskgroup.analysis.tables.base import Row, Table

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)
"""What the page may load: nothing but itself."""
SHORT = 32
"""Letters up to which the text of a cell is never broken."""
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["toImage", "resetScale2d"]],
}
MARKS: dict[Group, str] = {
    "best": "★",
    "natural": "◆",
    "adversarial": "■",
    "several": "▲",
    "searched": "●",
    "unfinished": "○",
    "other": "✕",
}


def page(title: str, body: Sequence[str]) -> str:
    """A whole page that needs nothing from outside.

    Args:
        title: Title of the window, plain text.
        body: Pieces of HTML.
    """
    style = (files("taskgroup.analysis") / "report.css").read_text(encoding="utf-8")
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{style}</style>",
            f"<script>{get_plotlyjs()}</script>",
            "</head>\n<body>\n<main>",
            *body,
            "</main>\n</body>\n</html>\n",
        ]
    )


def section(title: str, caption: str, content: str) -> str:
    """A part of the page with its heading; ``content`` is HTML."""
    words = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return f"<section>\n<h2>{escape(title)}</h2>\n{words}\n{content}\n</section>"


def figure(drawing: go.Figure, name: str) -> str:
    """A figure without its library; the page holds that once."""
    html: str = drawing.to_html(
        full_html=False,
        include_plotlyjs=False,
        config=CONFIG,
        div_id=f"chart-{name}",
        default_height=f"{drawing.layout.height}px",
    )
    return html


def head(headline: Headline, *, kicker: str, notes: Sequence[str]) -> str:
    """The answer on top of the page, with the notes that qualify it."""
    leads = "\n".join(f'<p class="lead">{escape(text)}</p>' for text in headline.sentences)
    marked = "\n".join(f'<p class="note">{escape(text)}</p>' for text in notes)
    return (
        f'<header>\n<p class="kicker">{escape(kicker)}</p>\n<h1>{escape(headline.title)}</h1>\n'
        f"{leads}\n{marked}\n</header>"
    )


def standings(rows: Sequence[tuple[Standing, Sequence[str]]], *, columns: Sequence[str]) -> str:
    """The winner beside the baselines, with a bar from 0 to 1 where the scores are shares.

    Args:
        rows: Each standing with the texts of its columns after the name.
        columns: Headings of these columns.
    """
    heads = "".join(f'<th class="number">{escape(name)}</th>' for name in columns)
    lines = [f"<table>\n<thead><tr><th>trained on</th>{heads}</tr></thead>\n<tbody>"]
    for standing, texts in rows:
        cells = "".join(f'<td class="number">{escape(text)}</td>' for text in texts)
        kind = "best" if standing.group == "best" else ""
        name = f"{mark(standing.group)}{escape(standing.label)}"
        lines.append(f'<tr class="{kind}"><td class="short">{name}</td>{cells}</tr>')
    return '<div class="scroll">' + "\n".join([*lines, "</tbody>\n</table></div>"])


def mark(group: Group) -> str:
    """The sign of a group in its colour, as in the charts."""
    style = STYLES[group]
    title = escape(style.title, quote=True)
    return f'<span class="mark" style="color:{style.color}" title="{title}">{MARKS[group]}</span>'


def table(content: Table, *, mark_column: int = 1) -> str:
    """A table with its notes; ``mark_column`` shows which part each trial plays."""
    numeric = [
        ' class="number"' if i in content.numeric else "" for i in range(len(content.columns))
    ]
    pairs = zip(numeric, content.columns, strict=True)
    heads = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in pairs)
    rows = "\n".join(_row(row, numeric, mark_column) for row in content.rows)
    notes = "\n".join(f'<p class="below">{escape(note)}</p>' for note in content.notes)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n{notes}"
    )


def _row(row: Row, numeric: Sequence[str], mark_column: int) -> str:
    cells = []
    for index, (kind, text) in enumerate(zip(numeric, row.cells, strict=True)):
        sign = mark(row.group) if row.group is not None and index == mark_column else ""
        short = ' class="short"' if len(text) <= SHORT and not kind else kind
        words = escape(text)
        if index in row.alarms:
            words = f'<span class="alarm">{words}</span>'
        cells.append(f"<td{short}>{sign}{words}</td>")
    kind = ' class="best"' if row.group == "best" else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def panels(data: PanelData) -> str:
    """The pictures, one row per image and model."""
    names = ("image", "target", "model", *data.heads)
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "\n".join(_block(block) for block in data.blocks)
    swatches = "".join(
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in data.classes
    )
    legend = f'<p class="swatches">{swatches}</p>' if swatches else ""
    return (
        f'<div class="scroll"><table class="panels">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table></div>\n{legend}"
    )


def _block(block: PanelBlock) -> str:
    span = f' class="shared" rowspan="{len(block.rows)}"'
    lines = []
    for index, row in enumerate(block.rows):
        shared = _cell(block.picture, span) + _cell(block.target, span) if index == 0 else ""
        name = f"{mark(row.group)}<span>{escape(row.label).replace('+', '+<wbr>')}</span>"
        label = f'<td class="label"><div>{name}</div></td>'
        cells = "".join(_cell(cell) for cell in row.cells)
        kind = ' class="first"' if index == 0 else ""
        lines.append(f"<tr{kind}>{shared}{label}{cells}</tr>")
    return "\n".join(lines)


def _cell(cell: Cell, span: str = "") -> str:
    inner = f'<img alt="" src="{cell.source}">' if cell.source else escape(cell.text)
    return f"<td{span}>{inner}</td>"


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and values."""
    return _definitions([(escape(name), escape(value)) for name, value in pairs])


def commands(pairs: Sequence[tuple[str, str]]) -> str:
    """Purposes and commands."""
    return _definitions(
        [(escape(name), f"<code>{escape(command)}</code>") for name, command in pairs]
    )


def _definitions(pairs: Sequence[tuple[str, str]]) -> str:
    items = "\n".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in pairs)
    return f"<dl>\n{items}\n</dl>"


def folded(title: str, text: str) -> str:
    """A long text behind one line."""
    words = f"<summary>{escape(title)}</summary>"
    return f"<details>{words}\n<pre>{escape(text)}</pre>\n</details>"
