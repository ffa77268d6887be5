"""Everything about a study that can be known to be wrong before Ray starts or data is decoded."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from taskgroup.config import parse
from taskgroup.data.base import Split
from taskgroup.data.census import census_text, census_warning, split_counts
from taskgroup.errors import ConfigError
from taskgroup.evaluation.suites.strong import strong_conditions
from taskgroup.metrics.base import Direction
from taskgroup.models.build import check_model
from taskgroup.search.plan.baselines import plan_baselines
from taskgroup.search.plan.confirm import confirm_config
from taskgroup.search.plan.first_points import draw_first_points
from taskgroup.search.plan.futile import futile_lines
from taskgroup.search.plan.grid import grid_points
from taskgroup.search.plan.networks import check_networks
from taskgroup.search.plan.proxy import proxy_space
from taskgroup.search.space.search_space import SearchSpace
from taskgroup.study.objectives import StudyObjective
from taskgroup.study.seed_means import MIN_IMAGES, MIN_SEEDS
from taskgroup.tasks.base import Task, build_task
from taskgroup.training.checks import build_tasks
from taskgroup.training.config import TrialConfig
from taskgroup.training.steps.base import check_step
from taskgroup.wording import counted


def check_names(space: SearchSpace) -> None:
    """Check a space against its data set, the tasks, the models and the sampler.

    Raises:
        ConfigError: A task, metric, backbone or decoder does not exist, or does not fit; a network
            cannot take the images; or the sampler cannot take the space.
        DataError: The data set's files are missing or foreign, or a split has none.
    """
    for config in space.examples():
        build_tasks(config)
        check_model(config.model)
        check_step(config)
    _ = plan_baselines(space)
    _ = draw_first_points(space)
    _check_stages(space)
    _check_split(space)
    _check_objectives(space)
    _check_splits(space)
    check_networks(space)
    if space.search.sampler == "grid":
        _ = grid_points(space)


def told_lines(space: SearchSpace) -> list[str]:
    """What to know before a search: its images, and what it cannot show or searches in vain.

    Raises:
        DataError: The data set's files are missing or foreign.
    """
    return [*_grid_lines(space), *_census_lines(space), *futile_lines(space)]


def _grid_lines(space: SearchSpace) -> list[str]:
    """How many trials a grid has, and whether ``search.trials`` stops it before the last."""
    trials = space.search.trials
    if space.search.sampler != "grid":
        return []
    unlimited = replace(space, search=space.search.model_copy(update={"trials": None}))
    baselines = (parse(TrialConfig, record.config) for record in plan_baselines(unlimited))
    configs = (*(point.config for point in grid_points(space)), *baselines)
    total = len({config.model_dump_json() for config in configs})
    if trials is None or trials >= total:
        return [f"grid: {counted(total, 'trial')}, baselines included"]
    return [f"grid: search.trials stops it after {trials} of {total} trials, baselines included"]


def _census_lines(space: SearchSpace) -> list[str]:
    """The images of each split, and what so few cannot show.

    Raises:
        DataError: The data set's files are missing or foreign.
    """
    counts = split_counts(space.example().dataset, space.main_task)
    text, warning = census_text(counts), census_warning(counts)
    lines = [*([text] if text else []), *([f"warning: {warning}"] if warning else [])]
    confirm = space.search.confirm
    if confirm is not None and (
        confirm.seeds < MIN_SEEDS or confirm.images < MIN_IMAGES or confirm.suite == "none"
    ):
        lines.append(
            f"warning: search.confirm will give no verdict, which takes at least {MIN_SEEDS} seeds "
            f"and a suite on {MIN_IMAGES} images"
        )
    return lines


def main_task(space: SearchSpace) -> Task:
    """The task to protect, as the data set describes it."""
    return build_task(space.example().dataset.tasks()[space.main_task])


def robust_objective(space: SearchSpace) -> StudyObjective:
    """The main task's main score under the validation attack, which rungs compare."""
    task = main_task(space)
    return StudyObjective(f"{task.name}/robust/{task.main_score}", task.direction)


def known_metrics(space: SearchSpace) -> Mapping[str, Direction]:
    """Metrics that every trial of a space has and that an objective may name."""
    task = main_task(space)
    return {
        f"{task.name}/{kind}/{score}": direction
        for kind in ("robust", "clean")
        for score, direction in task.metric().directions.items()
    }


def _check_stages(space: SearchSpace) -> None:
    """Check the trials that the other stages would run."""
    proxy, confirm = space.search.proxy, space.search.confirm
    if proxy is not None:
        with _named("search.proxy"):
            cheap = proxy_space(space, proxy)
            for config in cheap.examples():
                build_tasks(config)
                check_model(config.model)
            _ = plan_baselines(cheap)
            check_networks(cheap)
    if confirm is not None:
        with _named("search.confirm"):
            for config in space.examples():
                parse(TrialConfig, confirm_config(config.model_dump(mode="json"), confirm, 0))
                if confirm.suite != "none":
                    _ = strong_conditions(confirm.suite, config.validation, main_task(space))


@contextmanager
def _named(section: str) -> Iterator[None]:
    """Name the section that a mistake comes from, unless the message does."""
    try:
        yield
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if section in text else f"{section}: {text}") from None


def _check_split(space: SearchSpace) -> None:
    if space.example().validation.split != "validation":
        raise ConfigError(
            "validation.split must be validation in a space, got 'confirm'; the confirm stage "
            "takes that split by itself, and its numbers count only if no search saw it"
        )


def _check_splits(space: SearchSpace) -> None:
    """Check that every split that the search opens has images, and files for the task set."""
    config = space.example()
    confirm: tuple[Split, ...] = () if space.search.confirm is None else ("confirm",)
    for split in ("train", "validation", *confirm):
        config.dataset.check_split(split, config.task_set)


def _check_objectives(space: SearchSpace) -> None:
    known = known_metrics(space)
    for objective in space.objectives:
        if objective.metric not in known:
            raise ConfigError(
                f"objectives must name a score of the main task, got {objective.metric!r}; "
                f"choose from: {', '.join(sorted(known))}"
            )
        right = known[objective.metric]
        if objective.direction != right:
            raise ConfigError(
                f"objectives must {right} {objective.metric}, which is better that way, "
                f"got {objective.direction}"
            )
    names = [objective.metric for objective in space.objectives]
    if len(set(names)) < len(names):
        raise ConfigError(f"objectives must name each metric once, got {', '.join(names)}")
