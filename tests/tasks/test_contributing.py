"""The worked example of CONTRIBUTING.md does what the page says."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import taskgroup.data
import taskgroup.tasks
from taskgroup.data.base import DATASETS
from taskgroup.results.records import EpochRow
from taskgroup.tasks.base import TASKS, Target, Task, TaskInfo, build_task

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
assert taskgroup.data
assert taskgroup.tasks


def blocks(language: str) -> list[str]:
    """Code blocks of one language in the example of a task, in the order of the page."""
    text = PAGE.read_text(encoding="utf-8").partition("## Worked example: add a step")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example() -> Iterator[None]:
    """The example's task and data set, registered while a test runs."""
    with TASKS.scratch(), DATASETS.scratch():
        for number, code in enumerate(blocks("python")):
            module = ModuleType(f"contributing_{number}")
            exec(compile(code, f"{PAGE.name}:{number}", "exec"), module.__dict__)
        yield


@pytest.fixture
def task(example: None) -> Task:
    return build_task(TaskInfo("disparity"))


def test_task_keeps_the_contract(
    task: Task, check: Callable[[Task, torch.Generator], None], generator: torch.Generator
) -> None:
    check(task, generator)


def test_golden_loss(task: Task) -> None:
    prediction = torch.tensor([0.05, 1.0, 0.0, 9.0]).view(1, 1, 2, 2)
    valid = torch.tensor([[[True, True], [True, False]]])
    sums = task.loss(prediction, Target(torch.zeros(1, 1, 2, 2), valid))
    assert sums.loss_sum.item() == pytest.approx(0.05 + (1 + 0.04) / 0.4)
    assert sums.valid_count.item() == 3


def test_names_on_the_page_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    root = PAGE.parent
    named = re.findall(r"`((?:taskgroup|tests|data|docs)/[\w/]+(?:\.\w+|/))`", text)
    missing = [
        name
        for name in named
        if not any(example in name for example in ("disparity", "noisy"))
        and not (root / name).exists()
        and not (root / "taskgroup" / name).exists()
    ]
    assert named
    assert not missing


class Rows:
    """Keeps what ``fit`` reports."""

    def __init__(self) -> None:
        self.rows: list[EpochRow] = []

    def started(self, output_dimension: int) -> None:
        """Nothing to keep."""

    def epoch(self, row: EpochRow) -> None:
        self.rows.append(row)


def test_space_trains_the_task(
    example: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from taskgroup.search.space.search_space import load_space
    from taskgroup.training.fit import fit

    monkeypatch.setenv("TASKGROUP_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "disparity.yaml"
    path.write_text(blocks("yaml")[0], encoding="utf-8")
    config = load_space(path).example()
    assert set(config.auxiliary_tasks) == {"disparity", "normals", "edges"}
    reporter = Rows()
    fit(config, reporter)
    assert reporter.rows[0].metrics["disparity/train/loss"] > 0
