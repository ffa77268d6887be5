"""taskgroup: which auxiliary tasks, loss weights and attack budgets make a main task robust.

Nothing heavy is imported here; ``search``, ``load_run`` and ``evaluate`` load on first use.
"""

from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "search": ("taskgroup.search.run", "search"),
    "load_run": ("taskgroup.search.loading", "load_run"),
    "evaluate": ("taskgroup.evaluation.run", "evaluate"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'taskgroup' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
