"""The suite that confirmations are scored with: who is scored, and what a reader is told."""

from collections.abc import Callable

import pytest

from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.plan.confirm import score_confirmations
from taskgroup.search.plan.preflight import check_names
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.search.space.study_config import ConfirmConfig


def test_every_complete_confirmation_is_tried(
    searched: list[TrialResult], run: RunDirectory
) -> None:
    """These trials only pretended to train, so each of them lacks its network."""
    confirmed = {trial.number for trial in searched if trial.stage == "confirm"}
    problems = score_confirmations(run, ConfirmConfig())
    assert set(problems) == confirmed
    assert all("must have a checkpoint" in problem for problem in problems.values())
    assert score_confirmations(run, ConfirmConfig(suite="none")) == {}


def test_standard_is_what_is_run_unless_told_otherwise(
    staged: Callable[..., SearchSpace],
) -> None:
    assert parse(ConfirmConfig, {}).suite == "standard"
    for fix, message in [
        ("search.confirm.suite=full", "search.confirm.suite"),
        ("search.confirm.images=0", "search.confirm.images must be at least 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            check_names(staged(fix))
