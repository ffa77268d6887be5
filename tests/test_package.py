import subprocess
import sys
from importlib.metadata import version

import pytest

import taskgroup


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(result.stdout.split())


def test_version_is_that_of_the_distribution() -> None:
    assert taskgroup.__version__ == version("taskgroup")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "ray", "optuna", "plotly", "pydantic", "pyarrow", "typer", "yaml"}
    assert not heavy & loaded_after("import taskgroup")


@pytest.mark.parametrize(
    "modules",
    [
        "taskgroup.errors, taskgroup.registry, taskgroup.config",
        "taskgroup.results.records, taskgroup.results.run_directory",
        "taskgroup.study.selection, taskgroup.study.fronts, taskgroup.study.intervals",
    ],
)
def test_records_are_read_without_torch(modules: str) -> None:
    assert not {"torch", "ray", "optuna"} & loaded_after(f"import {modules}")


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'taskgroup' has no attribute 'serch'"):
        _ = taskgroup.serch


def test_functions_of_notebooks_are_listed() -> None:
    assert {"search", "load_run", "evaluate"} <= set(dir(taskgroup))
