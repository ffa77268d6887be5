"""The report: one HTML file that answers the question, shows why, and opens offline."""

from collections.abc import Sequence

import taskgroup.analysis.charts  # noqa: F401  (registers every chart)
from taskgroup import __version__
from taskgroup.analysis.base import CHARTS
from taskgroup.analysis.report import page
from taskgroup.analysis.report.grid_page import grid_sections
from taskgroup.analysis.report.headline import NOT_CONFIRMED, Headline, collect_headline, gain_text
from taskgroup.analysis.report.panels import collect_panels
from taskgroup.analysis.report.stage_sections import (
    CONFIRM_CAPTION,
    PROXY_CAPTION,
    confirm_table,
    confirmation_sentence,
    proxy_table,
)
from taskgroup.analysis.tables.base import study_table
from taskgroup.analysis.tables.evaluations import evaluation_table, robustness_table
from taskgroup.results.records import Panel
from taskgroup.results.run_directory import RunDirectory
from taskgroup.study.study import Study
from taskgroup.wording import argument, format_score

ORDER = ("pareto", "task_set", "epsilon", "transfer", "slices", "learning_curves")
"""Charts in the order of the argument; a chart that is not named here comes after them."""
PANELS_CAPTION = (
    "The first test images: each model's prediction without attack, the image after the attack on "
    "that model, and its prediction then."
)


def write_report(run: RunDirectory, study: Study) -> str:
    """Write ``report.html`` into a run directory and return where it lies.

    Args:
        run: The run directory.
        study: What lies in it.

    Raises:
        DataError: The file of a picture is torn or foreign.
        ResourceError: The disk is full or not writable.
    """
    return run.write_report(render_report(study, run.panels()))


def render_report(study: Study, panels: Sequence[Panel] = ()) -> str:
    """The report of a study as HTML, with the pictures of its evaluations."""
    headline = collect_headline(study)
    names = [*ORDER, *(name for name in CHARTS if name not in ORDER)]
    body = [
        _head(study, headline),
        _confirmed(study),
        grid_sections(study),
        _standings(study, headline),
        *(_chart(study, name) for name in names[:3]),
        _evaluation(study, "test"),
        _evaluation(study, "confirm"),
        _panels(study, panels),
        *(_chart(study, name) for name in names[3:]),
        _proxy(study),
        page.section("All trials", "", page.table(study_table(study))),
        _reproduce(study, headline),
    ]
    return page.page(f"{study.name}: {headline.title}", [piece for piece in body if piece])


def _head(study: Study, headline: Headline) -> str:
    notes = () if study.best is None else (_confirmation(study),)
    begun = min((trial.started for trial in study.searched if trial.started), default="")
    parts = [study.name, begun[:10], f"taskgroup {__version__}"]
    return page.head(headline, kicker=" · ".join(part for part in parts if part), notes=notes)


def _confirmation(study: Study) -> str:
    """What the confirm stage says, or that nothing is confirmed and how to confirm it."""
    return (
        confirmation_sentence(study)
        or f"{NOT_CONFIRMED} Run: taskgroup confirm {argument(study.place)}"
    )


def _confirmed(study: Study) -> str:
    if not study.has_stage("confirm"):
        return ""
    content = page.table(confirm_table(study), mark_column=-1)
    return page.section("Confirmation with several seeds", CONFIRM_CAPTION, content)


def _proxy(study: Study) -> str:
    if not study.has_stage("proxy"):
        return ""
    content = page.table(proxy_table(study), mark_column=-1)
    return page.section("Stand-in against real setting", PROXY_CAPTION, content)


def _standings(study: Study, headline: Headline) -> str:
    if not headline.standings:
        return ""
    score = study.robust.score_name
    rows = [
        (
            standing,
            [
                format_score(score, standing.clean),
                standing.robust,
                gain_text(study, standing.gain),
            ],
        )
        for standing in headline.standings
    ]
    columns = (study.clean.title, study.robust.title, "best trial is better by")
    caption = "Scores of the main task on the validation split, after the last epoch."
    return page.section(
        "The best trial against the baselines", caption, page.standings(rows, columns=columns)
    )


def _chart(study: Study, name: str) -> str:
    chart = CHARTS[name](study)
    if chart.figure is None and study.has_only_failures:
        return ""  # nothing that its caption could advise would fill it
    content = "" if chart.figure is None else page.figure(chart.figure, name)
    return page.section(chart.title, chart.caption, content)


def _evaluation(study: Study, split: str) -> str:
    own = [r for r in study.evaluations if (r.task, r.split) == (study.main_task, split)]
    if not own:
        return ""
    score = study.robust.score_name
    own.sort(key=lambda row: row.score_name != score)
    rows = [row for row in own if row.score_name == score]
    caption = (
        "Strong attacks on images that the search never saw. The worst case takes, image by image, "
        "the attack inside the threat model that hurt most."
    )
    tables = [robustness_table(own, study.trials)]
    if split == "test":
        tables.append(evaluation_table(rows, study.searched))
    content = "\n".join(page.table(table, mark_column=0) for table in tables)
    return page.section(f"Evaluation on the {split} split", caption, content)


def _panels(study: Study, panels: Sequence[Panel]) -> str:
    if not panels:
        return ""
    content = page.panels(collect_panels(study, panels))
    return page.section("What the attack does to predictions", PANELS_CAPTION, content)


def _reproduce(study: Study, headline: Headline) -> str:
    content = [
        page.facts(headline.facts),
        page.commands(headline.commands),
        page.folded("The search space", study.space_text),
    ]
    return page.section("How this was made", "", "\n".join(content))
