"""The sections of ``search:`` that add a stage before or behind the search itself."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from taskgroup.config import Config

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
