"""Pictures of an evaluation side by side: seen, wanted, said, attacked, said then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskgroup.analysis.groups import Group, Model, group_of_row
from taskgroup.analysis.report.png import (
    IGNORED,
    class_color,
    colour,
    data_address,
    scale_limits,
)
from taskgroup.results.records import Panel
from taskgroup.study.study import Study
from taskgroup.wording import attack_name, format_epsilon

MAX_IMAGES = 3
MAX_MODELS = 5


@dataclass(frozen=True)
class Cell:
    """One picture, or one word where the answer is a class per image.

    Attributes:
        source: The picture as an address, or the empty string.
        text: The class, or the empty string.
    """

    source: str = ""
    text: str = ""


@dataclass(frozen=True)
class PanelRow:
    """One model's answers to one image.

    Attributes:
        label: The model.
        group: Its part in the study.
        cells: One per condition and side: what it saw, what it said.
    """

    label: str
    group: Group
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class PanelBlock:
    """One image: what is seen, what is wanted, and the answer of every model."""

    image: int
    picture: Cell
    target: Cell
    rows: tuple[PanelRow, ...]


@dataclass(frozen=True)
class PanelData:
    """The pictures of an evaluation.

    Attributes:
        heads: Headings of the cells of every row.
        blocks: One per image.
        classes: Name and colour of every class that occurs, where the main task has classes.
    """

    heads: tuple[str, ...] = ()
    blocks: tuple[PanelBlock, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()


def collect_panels(study: Study, panels: Sequence[Panel]) -> PanelData:
    """Put the first images and models of an evaluation into rows; clean answers come first."""
    images = sorted({panel.image for panel in panels})[:MAX_IMAGES]
    models = _models(study, panels)
    attacks = dict.fromkeys(
        (panel.condition, panel.epsilon)
        for panel in panels
        if panel.content == "prediction" and panel.condition != "clean"
    )
    blocks = tuple(
        _block([panel for panel in panels if panel.image == image], models, tuple(attacks))
        for image in images
    )
    heads = ["prediction"]
    for condition, epsilon in attacks:
        heads += [f"{attack_name(condition, 1)} at ε = {format_epsilon(epsilon)}", "prediction"]
    return PanelData(tuple(heads), blocks, _classes(panels))


def _models(study: Study, panels: Sequence[Panel]) -> dict[Model, Group]:
    """Winner, main task alone, then the rest; never more than fit on a page."""
    order: tuple[Group, ...] = ("best", "adversarial", "natural", "several")
    rank = {group: place for place, group in enumerate(order)}
    groups = {(panel.trial, panel.label): group_of_row(panel, study.searched) for panel in panels}
    ranked = sorted(groups.items(), key=lambda pair: rank.get(pair[1], len(rank)))
    return dict(ranked[:MAX_MODELS])


def _block(
    here: Sequence[Panel], models: Mapping[Model, Group], attacks: Sequence[tuple[str, float]]
) -> PanelBlock:
    """The panels of one image in rows."""
    targets = [panel for panel in here if panel.content == "target"]
    limits = scale_limits(targets[0].pixels) if targets and targets[0].pixels.ndim == 3 else (0, 1)
    seen = [p for p in here if p.content == "image" and p.condition == "clean"]
    rows = []
    for model, group in models.items():
        own: dict[tuple[str, str, float], Panel] = {
            (panel.content, panel.condition, panel.epsilon): panel
            for panel in here
            if (panel.trial, panel.label) == model
        }
        keys = [("prediction", "clean", 0.0)]
        keys += [(side, *attack) for attack in attacks for side in ("image", "prediction")]
        cells = tuple(_cell(own.get(key), limits) for key in keys)
        rows.append(PanelRow(model[1], group, cells))
    first = [_cell(panels[0] if panels else None, limits) for panels in (seen, targets)]
    return PanelBlock(here[0].image, first[0], first[1], tuple(rows))


def _cell(panel: Panel | None, limits: tuple[float, float]) -> Cell:
    if panel is None:
        return Cell(text="-")
    if panel.kind == "classes" and panel.pixels.ndim == 0:
        return Cell(text=_class_name(panel, int(panel.pixels)))
    return Cell(source=data_address(colour(panel, limits=limits)))


def _class_name(panel: Panel, number: int) -> str:
    if number == IGNORED:
        return "unknown"
    return panel.class_names[number] if number < len(panel.class_names) else f"class {number}"


def _classes(panels: Sequence[Panel]) -> tuple[tuple[str, str], ...]:
    maps = [panel for panel in panels if panel.kind == "classes" and panel.pixels.ndim == 2]
    numbers = sorted({int(n) for panel in maps for n in set(panel.pixels.ravel().tolist())})
    return tuple((_class_name(maps[0], n), class_color(n)) for n in numbers if n != IGNORED)
