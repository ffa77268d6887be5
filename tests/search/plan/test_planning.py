"""What a trial is called in one line."""

from collections.abc import Callable
from dataclasses import replace

from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.planning import trial_name
from taskgroup.search.space.search_space import SearchSpace


def test_name_tells_number_task_set_and_threat(make_space: Callable[..., SearchSpace]) -> None:
    natural, _, everything, *_ = plan_baselines(make_space("adversary.epsilon=4/255"))
    assert trial_name(natural) == "trial 0 · segmentation · natural"
    name = trial_name(replace(everything, number=17, auxiliary_tasks=("depth",)))
    assert name == "trial 17 · segmentation+depth · ε 4/255"


def test_name_tells_the_stage_where_there_are_several(
    make_space: Callable[..., SearchSpace],
) -> None:
    (natural, *_) = plan_baselines(make_space())
    assert trial_name(replace(natural, stage="proxy")).endswith("natural · proxy")
