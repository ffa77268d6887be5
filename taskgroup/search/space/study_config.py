"""The keys of a search space that describe the study and not the trial."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskgroup.cluster.placement import ResourcesConfig
from taskgroup.config import Config
from taskgroup.study.objectives import ConstraintConfig, Objectives

Count = Annotated[int, Field(ge=1)]
_CHEAPER = ("width", "epochs", "image_size", "attack_steps")


class ProxyConfig(Config):
    """The ``search.proxy:`` section: search on a cheap stand-in, then train the best for real.

    What is left out stays as it is. Keys that the space searches stay searched.
    """

    width: Count | None = None
    """model.width of the stand-in."""
    epochs: Count | None = None
    """training.epochs of the stand-in; warm-up and steps of the schedule shrink with it."""
    image_size: Annotated[int, Field(ge=16)] | None = None
    """dataset.image_size of the stand-in."""
    attack_steps: Count | None = None
    """Most steps of the stand-in's validation attack, and of its training attack unless the space
    searches adversary.steps."""
    top: Count = 3
    """Searched trials that are trained again in the real setting, besides all baselines."""

    @model_validator(mode="after")
    def _check_cheaper(self) -> Self:
        if all(getattr(self, name) is None for name in _CHEAPER):
            raise ValueError(
                "search.proxy must make trials cheaper, but changes nothing; give one of: "
                + ", ".join(_CHEAPER)
            )
        return self


class ConfirmConfig(Config):
    """The ``search.confirm:`` section: train the best again and score it on the confirm split."""

    top: Count = 2
    """Searched trials that are confirmed, best first by the selection rule, besides all baselines
    and the main task alone under the recipe of each."""
    seeds: Annotated[int, Field(ge=2)] = 3
    """Seeds that each is trained with; none of them is a seed of the search."""
    epochs: Count | None = None
    """Epochs of each; by default those of its own full length."""
    suite: Literal["quick", "standard", "none"] = "standard"
    """Attacks that each is scored with once all are trained, as by ``taskgroup evaluate --suite``:
    the worst of them image by image. ``none`` leaves the validation attack's scores to stand."""
    images: Count = 128
    """Images of the confirm split that the suite attacks; all where it has fewer."""


class SearchConfig(Config):
    """The ``search:`` section: how many trials, who proposes them, who stops them."""

    trials: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Trials of the study, baselines included; grid may leave it out and runs every point."""
    sampler: Literal["tpe", "random", "grid", "nsga2", "gp"] = "tpe"
    """Who proposes trials. nsga2 and gp model only the keys that every trial has and draw the
    others at random; tpe models conditional keys too; grid takes every combination once."""
    scheduler: Literal["none", "asha"] = "none"
    """Who stops trials early; asha compares the objectives at rungs, several ones by
    non-dominated sorting. Baselines always run to the end."""
    grace_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs before the first rung. None: two thirds of the epochs, rounded up, where the learning
    rate ends low, since nothing ranks adversarial trainings before it falls; else 1."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """At each rung the best 1 / reduction continue."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Wall clock of the whole study, earlier sessions included. Then no trial begins any more, and
    running ones stop after their epoch and can be resumed with a larger budget."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the sampler; a resumed study takes another that follows from it."""
    proxy: ProxyConfig | None = None
    """Search on a cheap stand-in first, and train the best and the baselines for real."""
    confirm: ConfirmConfig | None = None
    """Train the best and the baselines again with several seeds, scored on the confirm split."""
    max_retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial is resumed elsewhere, from its last epoch, after its worker process died or
    its machine was lost. An error of the training itself is never tried again."""
    loggers: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = ("tensorboard",)
    """Where trials are logged besides the records: tensorboard writes event files into the run
    directory, mlflow and wandb report to their servers and need their own packages."""
    epoch_timeout: Annotated[float, Field(gt=0)] | None = None
    """Seconds that a trial may take for an epoch, start included, before its worker counts as
    hung: it is killed, and the trial is resumed like one whose worker died. None waits for ever."""

    @model_validator(mode="after")
    def _check_trials(self) -> Self:
        if self.trials is None and self.sampler != "grid":
            raise ValueError(f"search.trials is required by the sampler {self.sampler}; add it")
        return self


class StudyConfig(Config):
    """The keys of a space beside those of a trial."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """Name of the study; run directories are called after it."""
    description: str = ""
    """One line for `taskgroup spaces list`."""
    objectives: Objectives
    """What is optimised; the first one decides the winner."""
    search: SearchConfig
    """Trials, sampler, scheduler."""
    constraint: ConstraintConfig | None = None
    """What a winner may give up."""
    resources: ResourcesConfig = ResourcesConfig()
    """What one trial takes."""
    baseline: Mapping[str, Any] = {}
    """Trial keys that baselines take instead of the middle of their distribution."""
    first_points: tuple[Mapping[str, Any], ...] = ()
    """Trials to begin with after the baselines, such as published settings: each names values of
    keys that the space draws; others take their middle, and the task set is every candidate."""
