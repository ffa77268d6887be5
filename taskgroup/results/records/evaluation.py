"""What perturbations left of a model: scores, single images, and other models' images."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from taskgroup.errors import DataError
from taskgroup.results.records.base import Amount, Count, Count32, Record, TrialNumber
from taskgroup.results.records.ranges import UNIT, check_interval

Direction = Literal["maximize", "minimize"]
PerturbationKind = Literal["attack", "corruption"]
"""What was done to images; clean ones are those of an attack of radius 0."""


@dataclass(frozen=True)
class EvaluationRow(Record):
    """One score of one trained model under one attack or corruption.

    Attributes:
        trial: Number of the trial, or -1 for a checkpoint from elsewhere.
        label: The trial's label.
        role: ``winner``, ``baseline`` or ``other``.
        condition: ``clean``, ``noise``, ``fgsm``, ``pgd``, ...
        attacked_tasks: Tasks whose losses the attack raised; empty when clean.
        norm: Norm of the ball; empty for a corruption, which has none.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart; 0 without an attack.
        restarts: Restarts; 0 without an attack.
        task: Whose score it is.
        score_name: ``miou``, ``accuracy``, ...
        direction: Whether more is better.
        score: The data-set score.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        images: Number of test images.
        seed: Seed of the attack.
        verdict: ``ok``, or what a sanity check found.
        seconds: Time that the condition took, for all its scores together.
        attack: Registry name of the attack, or of the corruption; empty where there is none or
            several count.
        valid: Pixels, or whole images, that the score counts.
        vulnerability: Mean over images of how much larger the error is than without attack,
            relative to the error without; None where there is no attack or nothing to divide by.
        suite: Suite of attacks that the row belongs to.
        split: Split of the data set that the images come from.
        step_size: Length of the attack's first step in the norm; None where it takes none.
        kind: ``attack``, clean images and worst cases included, or ``corruption``.
        severity: Of the corruption, from 1 to 5; 0 for an attack.
        is_bound: Whether the score only bounds what a better attack would leave, because the
            gradients that the attack followed do not describe the model; ``verdict`` says so too.
        attack_version: Version of the attacks that the numbers come from; 0 without an attack, and
            in records from before there were versions.
        influences: What each image with a label contributes to the score, in the order of the
            images. Clean images and worst cases have them, other conditions do not.
        constant: The best that this score is for one prediction for all pixels of all images; None
            where it is not known.
    """

    stored_as: ClassVar[str] = "evaluation"
    made_by: ClassVar[str] = "taskgroup evaluate"

    trial: TrialNumber
    label: str
    role: Literal["winner", "baseline", "other"]
    condition: str
    attacked_tasks: tuple[str, ...]
    norm: str
    epsilon: Amount
    steps: Count32
    restarts: Count32
    task: str
    score_name: str
    direction: Direction
    score: float
    low: float
    high: float
    images: Count
    seed: Count
    verdict: str
    seconds: Amount
    attack: str = ""
    valid: Count = 0
    vulnerability: float | None = None
    suite: str = ""
    split: Literal["test", "confirm"] = "test"
    step_size: Amount | None = None
    kind: PerturbationKind = "attack"
    severity: Count32 = 0
    is_bound: bool = False
    attack_version: Count32 = 0
    influences: tuple[float, ...] = ()
    constant: float | None = None

    def check(self) -> None:
        """An interval has its ends in order, and no more images contribute than there are."""
        check_interval(self.low, self.high)
        if len(self.influences) > self.images:
            raise DataError(
                f"influences must be those of {self.images} images at most, but are "
                f"{len(self.influences)}"
            )


@dataclass(frozen=True)
class TransferRow(Record):
    """The score of one model on images that were attacked for another one.

    It says how far adversarial images travel and is no measure of robustness: that takes an attack
    on the model itself.

    Attributes:
        source: Trial whose model the images were attacked for, or -1.
        source_label: Its label.
        target: Trial whose model was scored on them, or -1.
        target_label: Its label.
        attack: Registry name of the attack.
        norm: Norm of the ball.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart.
        restarts: Restarts.
        task: Whose score it is: the main task.
        score_name: Its main score.
        direction: Whether more is better.
        score: The data-set score.
        low: Lower end of the bootstrap 95 % interval over images.
        high: Upper end of the same interval.
        images: Number of images.
        seed: Seed of the attack.
        split: Split of the data set that the images come from.
    """

    stored_as: ClassVar[str] = "transfer"
    made_by: ClassVar[str] = "taskgroup evaluate"

    source: TrialNumber
    source_label: str
    target: TrialNumber
    target_label: str
    attack: str
    norm: str
    epsilon: Amount
    steps: Count32
    restarts: Count32
    task: str
    score_name: str
    direction: Direction
    score: float
    low: float
    high: float
    images: Count
    seed: Count
    split: Literal["test", "confirm"] = "test"

    def check(self) -> None:
        """An interval has its ends in order."""
        check_interval(self.low, self.high)


@dataclass(frozen=True)
class ImageRow(Record):
    """What one perturbation left of one image, for one task of one model.

    Attributes:
        trial: Number of the trial, or -1.
        label: Its label.
        condition: ``clean``, ``apgd``, ``sea``, ...; ``worst_case`` for the one that counts.
        member: Which attack of an ensemble it was; with ``worst_case`` the condition that the
            result comes from.
        scored_trial: Trial whose model was scored: another one where it is about transfer.
        attack: Registry name of the attack or the corruption, or empty.
        norm: Norm of the ball, or empty.
        epsilon: Radius for pixels in [0, 1].
        steps: Gradient steps per restart.
        restarts: Restarts.
        attacked_tasks: Tasks whose losses the attack raised.
        seed: Seed of the attack.
        split: Split of the data set.
        image: Position of the image in it.
        task: Whose sums they are.
        valid: Pixels that count, or 1 for an image with one label.
        sums: The metric's sums of the image; scores of a data set are functions of their total.
        seconds: Time of the piece of work that the image was part of.
        kind: ``attack`` or ``corruption``, as in an evaluation row.
        severity: Of the corruption; 0 for an attack.
    """

    stored_as: ClassVar[str] = "image"
    made_by: ClassVar[str] = "taskgroup evaluate"

    trial: TrialNumber
    label: str
    condition: str
    member: str
    scored_trial: TrialNumber = field(metadata={"column": "judged"})
    attack: str
    norm: str
    epsilon: Amount
    steps: Count32
    restarts: Count32
    attacked_tasks: tuple[str, ...]
    seed: Count
    split: Literal["test", "confirm"]
    image: Count
    task: str
    valid: Count
    sums: tuple[float, ...]
    seconds: Amount
    kind: PerturbationKind = "attack"
    severity: Count32 = 0


@dataclass(frozen=True)
class GradientCheckRow(Record):
    """Whether the gradients that attacks follow describe a model, measured where a search ended.

    Attributes:
        trial: Number of the trial.
        finding: What was found, in a few words; empty where gradients are right.
        is_void: Whether its robust scores are bounds and nothing else.
        share: Share of the images whose gradient does not describe the model; None where that was
            not decided.
        images: Images of the validation split that were looked at.
    """

    stored_as: ClassVar[str] = "gradient_check"
    made_by: ClassVar[str] = "taskgroup search --resume RUN"

    trial: TrialNumber
    finding: str
    is_void: bool
    share: float | None
    images: Count

    def check(self) -> None:
        """A share lies in [0, 1]."""
        if self.share is not None and self.share not in UNIT:
            raise DataError(f"share must lie in [0, 1], but is {self.share:g}")
