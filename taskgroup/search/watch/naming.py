"""What a trial is called where a reader sees one line of it: in dashboards and loggers."""

from taskgroup.results.records import TrialResult
from taskgroup.search.answer.progress import value_text


def trial_name(record: TrialResult) -> str:
    """Number, task set and threat of a trial, ``trial 17 · segmentation+depth · ε 4/255``.

    A trial that trains without an attack says ``natural``, one of another stage names the stage.
    """
    adversary = record.config.get("adversary") or {}
    epsilon = adversary.get("epsilon")
    threat = f"ε {value_text('epsilon', epsilon)}" if record.is_adversarial else "natural"
    parts = [f"trial {record.number}", "+".join(record.task_set), threat]
    return " · ".join(parts if record.stage == "search" else [*parts, record.stage])
