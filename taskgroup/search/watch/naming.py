"""What a trial is called where a reader sees one line of it: in dashboards and loggers."""

from taskgroup.results.records import TrialResult
from taskgroup.wording import format_value


def trial_name(record: TrialResult) -> str:
    """Number, task set and threat of a trial, ``trial 17 · segmentation+depth · ε 4/255``.

    A trial that trains without an attack says ``natural``, one of another stage names the stage.
    """
    adversary = record.config.get("adversary") or {}
    radius = format_value("epsilon", adversary.get("epsilon"))
    threat = f"ε {radius}" if record.is_adversarial else "natural"
    parts = [f"trial {record.number}", "+".join(record.task_set), threat]
    return " · ".join(parts if record.stage == "search" else [*parts, record.stage])
