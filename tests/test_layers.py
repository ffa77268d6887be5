"""The import rule of the project: a package may only lean on the layers below it.

The two tables are the rule. A new arrow or a new library is a decision: it changes a table here,
not only an import somewhere.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOUNDATION = frozenset(
    {"errors", "registry", "config", "paths", "termination", "wording", "results"}
)
BELOW_CLUSTER = FOUNDATION | {"draws", "metrics", "study", "attacks", "tasks", "data", "models"}
BELOW_TRAINING = BELOW_CLUSTER | {"evaluation"}

PACKAGES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(FOUNDATION, FOUNDATION),
    "metrics": FOUNDATION,
    "study": FOUNDATION,
    "draws": FOUNDATION,
    "attacks": FOUNDATION | {"draws"},
    "tasks": FOUNDATION | {"draws", "metrics"},
    "data": FOUNDATION | {"draws", "tasks"},
    "models": FOUNDATION | {"draws", "tasks"},
    "cluster": FOUNDATION,
    "evaluation": BELOW_CLUSTER | {"cluster"},
    "training": BELOW_TRAINING,
    "search": BELOW_TRAINING | {"cluster", "training"},
    "analysis": FOUNDATION | {"study"},
    "cli": BELOW_TRAINING | {"cluster", "training", "search", "analysis"},
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}
"""What each package may import from taskgroup, besides itself."""

EVERYWHERE = frozenset({"torch", "numpy", "pydantic", "pydantic_core"})
WITHOUT_TORCH = FOUNDATION | {"study", "analysis", "cli"}
"""Records, their statistics and the report are read on machines that train nothing."""

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "yaml": ("config",),
    "pyarrow": ("results",),
    "pandas": ("results",),
    "scipy": ("study", "data", "models"),
    "torchvision": ("data", "models"),
    "PIL": ("data", "models"),
    "filelock": ("results", "data"),
    "platformdirs": ("data",),
    "timm": ("models",),
    "pyautoattack": ("attacks",),
    "torchjd": ("training.steps", "training.weighting"),
    "ray": (
        "cluster",
        "evaluation.shards",
        "training.parallel",
        "search.engine",
        "search.watch",
    ),
    "grpc": ("cluster",),
    "optuna": ("search.sampling",),
    "tensorboardX": ("search.watch",),
    "plotly": ("analysis",),
    "rich": ("cli", "evaluation.progress_bar", "search.answer", "analysis.tables"),
    "typer": ("cli",),
    "click": ("cli",),
}
"""Where each library may be imported: a package, or a module inside one."""

INSIDE_FUNCTIONS = frozenset({"pyautoattack", "torchjd", "pandas"})
"""Extras: imported where they are used, so that the package works without them."""

AT_ONCE_IN_CLI = frozenset(
    {"taskgroup", "taskgroup.errors", "taskgroup.paths", "taskgroup.termination"}
)
"""What the command line may import, besides itself, before it knows the command: help must answer
at once."""


def at_once(target: str) -> bool:
    """Whether the command line may import a module before it knows the command."""
    return target in AT_ONCE_IN_CLI or target.split(".")[:2] == ["taskgroup", "cli"]


@dataclass(frozen=True)
class Import:
    """One import statement: who asks for what, where, and whether only when a function runs."""

    importer: str
    target: str
    line: int
    lazy: bool


def imports_of(source: str, importer: str) -> Iterator[Import]:
    """Every import of a module's source; ``from taskgroup import data`` asks for both."""
    yield from _visit(ast.parse(source), importer, lazy=False)


def _visit(node: ast.AST, importer: str, *, lazy: bool) -> Iterator[Import]:
    for target in _targets(node):
        yield Import(importer, target, getattr(node, "lineno", 0), lazy)
    inner = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        inner = True
    for child in ast.iter_child_nodes(node):
        yield from _visit(child, importer, lazy=inner)


def _targets(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(level=level) if level:
            return ["." * level + (node.module or "")]
        case ast.ImportFrom(module="taskgroup", names=names):
            return [
                "taskgroup" if n.name == "__version__" else f"taskgroup.{n.name}" for n in names
            ]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]) if ast.unparse(
            function
        ).endswith(("import_module", "__import__")):
            return [name]
    return []


def fault(found: Import) -> str | None:
    """Why an import breaks the rule, or None."""
    if found.target.startswith("."):
        return "relative import; write taskgroup.x.y"
    importer = found.importer.removeprefix("taskgroup.")
    top = found.target.split(".")[0]
    if top == "taskgroup":
        return _package_fault(found, importer)
    return None if top in sys.stdlib_module_names else _library_fault(found, importer, top)


def _package_fault(found: Import, importer: str) -> str | None:
    package, target = importer.split(".")[0], found.target.removeprefix("taskgroup").strip(".")
    other = target.split(".")[0]
    if package not in PACKAGES:
        return f"{package} is in no layer; add it to the table"
    if package == "cli" and not found.lazy and not at_once(found.target):
        return f"cli must import {found.target} inside the command"
    if other and other != package and other not in PACKAGES[package]:
        return f"{package} must not import {other}"
    return None


def _library_fault(found: Import, importer: str, library: str) -> str | None:
    package = importer.split(".")[0]
    if library in EVERYWHERE:
        barred = library == "torch" and package in WITHOUT_TORCH
        return f"{package} must work without torch" if barred else None
    places = LIBRARIES.get(library, ())
    if not any(f"{importer}.".startswith(f"{place}.") for place in places):
        return f"{importer} must not import {library}; its places: {', '.join(places) or 'none'}"
    if library in INSIDE_FUNCTIONS and not found.lazy:
        return f"{library} is an extra and must be imported inside a function"
    return None


def module_name(path: Path) -> str:
    """Dotted name of a file below the root; a package's ``__init__`` has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if len(parts) == 2 or parts[-1] != "__init__" else parts[:-1])


@pytest.mark.parametrize("path", sorted((ROOT / "taskgroup").rglob("*.py")), ids=module_name)
def test_file_keeps_to_its_layer(path: Path) -> None:
    found = imports_of(path.read_text(encoding="utf-8"), module_name(path))
    faults = [f"line {i.line}: {why}" for i in found if (why := fault(i))]
    assert not faults, "\n".join(faults)


def test_every_package_is_in_the_table() -> None:
    here = {module_name(path).split(".")[1] for path in (ROOT / "taskgroup").rglob("*.py")}
    assert here <= set(PACKAGES)


def test_table_has_no_cycle() -> None:
    done: set[str] = set(FOUNDATION)
    while ready := {p for p, below in PACKAGES.items() if p not in done and below <= done}:
        done |= ready
    assert done == set(PACKAGES)


def test_nothing_imports_data_and_models_into_each_other() -> None:
    assert "models" not in PACKAGES["data"]
    assert "data" not in PACKAGES["models"]


@pytest.mark.parametrize(
    ("importer", "source", "message"),
    [
        ("attacks.pgd", "from taskgroup.tasks.base import Task", "attacks must not import tasks"),
        ("attacks.pgd", "from taskgroup import models", "attacks must not import models"),
        ("attacks.pgd", "def f():\n    import taskgroup.data", "attacks must not import data"),
        ("data.scenes", "import taskgroup.models.base", "data must not import models"),
        ("models.build", "from taskgroup.data.base import Batch", "models must not import data"),
        ("evaluation.run", "import taskgroup.training", "evaluation must not import training"),
        ("analysis.report", "import taskgroup.models", "analysis must not import models"),
        ("tasks.depth", "from .base import Task", "relative import"),
        ("study.pareto", "import torch", "study must work without torch"),
        ("analysis.report", "import torch", "analysis must work without torch"),
        ("search.run", "import ray", "search.run must not import ray"),
        ("search.run", "from ray.tune import Tuner", "search.run must not import ray"),
        ("training.fit", "def f():\n    import ray", "training.fit must not import ray"),
        ("training.fit", "from importlib import import_module\nimport_module('ray')", "ray"),
        ("search.space", "import optuna", "search.space must not import optuna"),
        ("search.run", "import rich.table", "search.run must not import rich"),
        ("study.pareto", "import plotly.graph_objects", "study.pareto must not import plotly"),
        ("analysis.report", "import pyarrow", "analysis.report must not import pyarrow"),
        ("models.build", "import requests", "its places: none"),
        ("training.weighting.pcgrad", "import torchjd", "inside a function"),
        ("cli", "from taskgroup.search.run import search", "inside the command"),
        ("__init__", "import taskgroup.cli", "__init__ must not import cli"),
        ("helpers", "import taskgroup.errors", "helpers is in no layer"),
    ],
)
def test_wrong_arrow_is_found(importer: str, source: str, message: str) -> None:
    faults = [fault(found) for found in imports_of(source, f"taskgroup.{importer}")]
    assert any(why and message in why for why in faults), faults


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("tasks.depth", "from taskgroup.metrics.base import SumMetric"),
        ("tasks.depth", "import taskgroup.tasks.base"),
        ("search.engine.driver", "import ray"),
        ("training.parallel.ray_train", "import ray.train"),
        ("training.weighting.pcgrad", "def f():\n    import torchjd"),
        ("cli", "def search():\n    from taskgroup.search.run import search"),
        (
            "cli",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import taskgroup.results",
        ),
        ("cli", "import typer\nfrom taskgroup import __version__"),
        ("config", "import yaml\nfrom taskgroup.errors import ConfigError"),
    ],
)
def test_right_arrow_passes(importer: str, source: str) -> None:
    found = list(imports_of(source, f"taskgroup.{importer}"))
    assert found
    assert [fault(one) for one in found] == [None] * len(found)


MOST_FILES = 16
MOST_LINES = 500


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of files that import one another, directly or through others."""
    reached = {name: _reachable(name, arrows) for name in arrows}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in arrows
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(found)]


def _reachable(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += arrows.get(name, ())
    return found


def arrows_between(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Which files each file imports, inside functions too; a package is its ``__init__``.

    A file of another package brings that package's ``__init__`` with it.

    Args:
        sources: Source text by dotted name.
    """
    arrows = {}
    for name, text in sources.items():
        asked = {f for node in ast.walk(ast.parse(text)) for f in _files(node, sources)}
        packages = {package for f in asked for package in _packages(f) if package in sources}
        arrows[name] = (asked | packages - set(_packages(name))) - {name}
    return arrows


def _packages(name: str) -> Iterator[str]:
    """The packages that a file lies in, innermost first."""
    while name := name.rpartition(".")[0]:
        yield name


def _files(node: ast.AST, sources: Mapping[str, str]) -> set[str]:
    """The files that one statement asks for: those named, not the packages that they lie in."""
    if isinstance(node, ast.ImportFrom):
        named = {f"{node.module}.{alias.name}" for alias in node.names}
        inside = named & set(sources)
        return inside if inside == named else inside | ({str(node.module)} & set(sources))
    return set(_targets(node)) & set(sources)


def package_sources() -> dict[str, str]:
    paths = (ROOT / "taskgroup").rglob("*.py")
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text(encoding="utf-8")
        )
        for path in paths
    }


def test_no_circle_of_files() -> None:
    assert circles(arrows_between(package_sources())) == []


@pytest.mark.parametrize(
    "sources",
    [
        {"p.a": "import p.b", "p.b": "import p.a"},
        {"p.a": "from p.b import x", "p.b": "def f():\n    from p.a import y"},
        {"p.a": "from p import b", "p.b": "import p.c", "p.c": "from p.a import z"},
        {"p": "from p.a import x", "p.a": "from p import y"},
        {"p.q": "import p.q.a", "p.q.a": "import p.b", "p.b": "import p.q.c", "p.q.c": ""},
    ],
)
def test_a_circle_is_found(sources: Mapping[str, str]) -> None:
    (found,) = circles(arrows_between(sources))
    assert found == sorted(set(sources) - {"p.q.c"})


def test_a_line_of_files_is_no_circle() -> None:
    sources = {"p.a": "import p.b", "p.b": "from p import c", "p.c": "import torch", "p": ""}
    assert circles(arrows_between(sources)) == []


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in (ROOT / "taskgroup").rglob("*.py")}),
    ids=lambda folder: str(folder.relative_to(ROOT)),
)
def test_a_folder_tells_where_to_go(folder: Path) -> None:
    files = sorted(folder.glob("*.py"))
    assert len(files) <= MOST_FILES, f"{len(files)} files: {[path.name for path in files]}"
    long = {p.name: n for p in files if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert not long, long
