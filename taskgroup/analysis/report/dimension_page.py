"""The charts of output dimension as a page of their own, for checkpoints without a run."""

import taskgroup.analysis.charts  # noqa: F401  (registers every chart)
from taskgroup.analysis.base import CHARTS
from taskgroup.analysis.report import page
from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS
from taskgroup.results.storage.base import open_storage
from taskgroup.results.storage.places import Place, within
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.study import Study

PAGE_FILE = "dimension.html"
NAMES = ("dimension", "task_gradients")


def write_dimension_page(place: Place) -> str:
    """Draw the records of a folder into ``dimension.html`` beside them; returns where it lies.

    Raises:
        DataError: A file of records is torn or foreign, or lacks a column that it needs.
        ResourceError: The disk is full or not writable.
    """
    storage = open_storage(place)
    rows, task_rows = DIMENSIONS.latest(storage), TASK_GRADIENTS.latest(storage)
    task = rows[-1].task if rows else ""
    study = Study(
        name=str(place),
        place=str(place),
        main_task=task,
        objectives=(StudyObjective(f"{task}/robust/score", "maximize"),),
        dimensions=tuple(rows),
        task_gradients=tuple(task_rows),
    )
    body = []
    for name in NAMES:
        chart = CHARTS[name](study)
        content = "" if chart.figure is None else page.figure(chart.figure, name)
        body.append(page.section(chart.title, chart.caption, content))
    storage.write(PAGE_FILE, page.page("Output dimension", body).encode("utf-8"))
    return within(place, PAGE_FILE)
