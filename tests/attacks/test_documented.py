"""docs/attacks.md lists what exists: every registered attack and attack loss, and no other."""

import re
from pathlib import Path

import pytest

from taskgroup.attacks.base import ATTACKS
from taskgroup.attacks.losses.base import LOSSES

PAGE = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^##+ (.+?)\n(.*?)(?=^##+ |\Z)", PAGE, re.M | re.S))


def first_cells(section: str) -> set[str]:
    """Names in the first column of a section's tables."""
    cells = re.findall(r"^\| ([^|]+) \|", SECTIONS[section], re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_attack_loss_is_explained(name: str) -> None:
    assert name in first_cells("Losses")


def test_nothing_else_is_listed() -> None:
    assert first_cells("Attacks") <= set(ATTACKS)
    assert first_cells("Losses") <= set(LOSSES)
