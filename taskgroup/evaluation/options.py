"""What a reader may choose about an evaluation, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from taskgroup.attacks.base import ThreatModel
from taskgroup.config import parse
from taskgroup.errors import ConfigError
from taskgroup.evaluation.loading import ScoredSplit, TrainedModel
from taskgroup.evaluation.objective.network import evaluation_device
from taskgroup.evaluation.objective.task_objective import resolve_attacked
from taskgroup.evaluation.suites.strong import SUITES, Suite
from taskgroup.wording import format_epsilon

DEFAULT_IMAGES = 256


@dataclass(frozen=True)
class EvaluationOptions:
    """How networks are evaluated.

    Attributes:
        suite: How much is done; None is ``quick`` on a CPU and ``standard`` on a GPU.
        images: How many of the first images of the split are used; fewer where it is smaller.
        seed: Seed of attacks and of resampling.
        epsilon: Radius of the ball, ``8/255`` or a number; None is that of the run's validation.
        norm: Norm of the ball; None likewise.
        attacked_tasks: Tasks attacked together beside the main one alone; none means all.
        split: Split that is scored.
        workers: Worker processes; 1 is this process.
        address: Address of a Ray cluster that answers, joined as by a search, or None.
    """

    suite: Suite | None = None
    images: int = DEFAULT_IMAGES
    seed: int = 0
    epsilon: float | str | None = None
    norm: str | None = None
    attacked_tasks: Sequence[str] = ()
    split: ScoredSplit = "test"
    workers: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        if self.images < 1:
            raise ConfigError(
                f"images must be at least 1, got {self.images}; {DEFAULT_IMAGES} is the default"
            )
        if self.workers < 1:
            raise ConfigError(
                f"workers must be at least 1, got {self.workers}; 1 works in this process"
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be at least 0 and below 2^32, got {self.seed}")
        if self.suite is not None and self.suite not in SUITES:
            raise ConfigError(f"suite must be one of: {', '.join(SUITES)}; got {self.suite!r}")
        if self.norm is not None:
            _ = parse(ThreatModel, {"norm": self.norm, "epsilon": 0})

    @property
    def chosen_suite(self) -> Suite:
        """The suite asked for, or the one that suits the machine."""
        if self.suite is not None:
            return self.suite
        return "quick" if evaluation_device().type == "cpu" else "standard"

    @property
    def uses_ray(self) -> bool:
        """Whether shards run in Ray tasks."""
        return self.workers > 1 or self.address is not None

    def threat(self, trained: TrainedModel) -> ThreatModel:
        """The ball that a network is evaluated in.

        Raises:
            ConfigError: A radius that is none, or one in units of 1/255.
        """
        named = {
            "norm": trained.threat.norm if self.norm is None else self.norm,
            "epsilon": trained.threat.epsilon if self.epsilon is None else self.epsilon,
        }
        if self.epsilon is None and named["norm"] != trained.threat.norm:
            raise ConfigError(
                f"epsilon must be given with norm {self.norm!r}, because the run's radius "
                f"{format_epsilon(trained.threat.epsilon)} is one of norm {trained.threat.norm}; "
                "add for example --epsilon 0.5"
            )
        threat = parse(ThreatModel, named)
        if threat.epsilon == 0:
            raise ConfigError("epsilon must be above 0, got 0; no attack can be inside that ball")
        return threat

    def attacked(self, trained: TrainedModel) -> tuple[str, ...]:
        """The tasks of a network that are attacked together.

        Raises:
            ConfigError: A name outside its task set.
        """
        return resolve_attacked(
            tuple(self.attacked_tasks) or "all", trained.main_task, trained.task_set
        )
