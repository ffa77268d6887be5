"""The suites ``standard`` and ``full``, from a trial to the rows of its run, with few steps."""

import math
from pathlib import Path

import pytest

from taskgroup.attacks.base import ATTACK_VERSION
from taskgroup.attacks.ensembles.sea import SEA_LOSSES
from taskgroup.attacks.ensembles.tempered import MEMBERS as TEMPERED
from taskgroup.evaluation.options import EvaluationOptions
from taskgroup.evaluation.run import evaluate
from taskgroup.evaluation.suites import catalogue, strong
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.training.config import TrialConfig
from taskgroup.training.fit import fit

pytestmark = pytest.mark.usefixtures("short_gradient_check")

EPSILON = 4 / 255
FEW = {
    "SWEEP_STEPS": 3,
    "TASKS_STEPS": catalogue.TASKS_STEPS | {"standard": 3, "full": 3},
    "QUERIES": catalogue.QUERIES | {"standard": 4, "full": 4},
}
FEW_STRONG = {
    "QUICK": strong.QUICK | {"regression": (("apgd_metrics", 8),)},
    "STANDARD": {
        "dense": (("tempered", 6), ("sea", 6)),
        "classification": (("autoattack", 2),),
        "regression": (("apgd_metrics", 8),),
    },
    "FULL_ALSO": {"dense": (("segpgd", 3), ("cospgd", 3))},
}
STRONG = {
    "segmentation": {"tempered": 6, "sea": 6},
    "classification": {"autoattack": 2},
    "depth": {"apgd_metrics": 8},
    "normals": {"apgd_metrics": 8},
}
MEMBERS = {
    "tempered": set(TEMPERED),
    "sea": set(SEA_LOSSES),
    "autoattack": set(),
    "apgd_metrics": {"abs_rel", "mse", "delta1", "l1"},
}
SEVERAL = ["apgd_tasks"] + [f"apgd_tasks_{way}" for way in ("sum", "unit_gradient", "worst_task")]
AUXILIARY = {"segmentation": "depth", "classification": "segmentation"}
SPACE = "main_task: {}\nobjectives: [{{maximize: {}/robust/score}}]\n"


class Silent:
    """Hears of a training and says nothing."""

    def started(self, output_dimension: int) -> None:
        pass

    def epoch(self, row: object) -> None:
        pass


def train(main_task: str, checkpoint: Path) -> TrialConfig:
    """One epoch on 32 small scenes."""
    auxiliary = AUXILIARY.get(main_task, "segmentation")
    config = TrialConfig.model_validate(
        {
            "dataset": {
                "name": "scenes", "image_size": 32, "train": 32, "validation": 1, "test": 2
            },
            "model": {"backbone": "resnet_small", "width": 8, "decoder_width": 8},
            "main_task": main_task,
            "auxiliary_tasks": [auxiliary],
            "loss_weights": {auxiliary: 0.1},
            "training": {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2},
            "validation": {"attack": "noise", "epsilon": EPSILON},
        }
    )  # fmt: skip
    fit(config, Silent(), checkpoint=checkpoint)
    return config


@pytest.fixture(scope="module")
def make_run(tmp_path_factory):
    """Gives the run of one trained trial, trained once per main task."""
    runs: dict[str, RunDirectory] = {}

    def make(main_task: str) -> RunDirectory:
        if main_task not in runs:
            folder = tmp_path_factory.mktemp(main_task)
            run = RunDirectory.create(folder, "one", SPACE.format(main_task, main_task))
            config = train(main_task, run.checkpoint_path(0))
            run.write_trial(
                TrialResult(
                    number=0,
                    label="one",
                    role="searched",
                    config=config.model_dump(mode="json"),
                    parameters={},
                    main_task=main_task,
                    auxiliary_tasks=config.auxiliary_tasks,
                    output_dimension=1,
                    status="complete",
                    checkpoint="checkpoints/00000.pt",
                )
            )
            runs[main_task] = run
        return runs[main_task]

    return make


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    for name, value in FEW.items():
        monkeypatch.setattr(catalogue, name, value)
    for name, value in FEW_STRONG.items():
        monkeypatch.setattr(strong, name, value)


def run_suite(run, suite, **options):
    found = evaluate(0, run=run.path, options=EvaluationOptions(suite, images=2, **options))
    main = found.rows[0]
    own = [r for r in found.rows if (r.task, r.score_name) == (main.task, main.score_name)]
    stored = run.evaluations()[-len(found.rows) :]
    assert list(map(repr, stored)) == list(map(repr, found.rows))  # NaN where nothing varies
    return found.rows, own


def damage(row):
    """The score turned so that more is worse for the network."""
    return row.score if row.direction == "minimize" else -row.score


@pytest.mark.parametrize("main_task", STRONG)
def test_standard_meets_each_task_with_the_attack_made_for_it(main_task, make_run):
    rows, own = run_suite(make_run(main_task), "standard")
    named = {row.condition: row for row in own if row.condition != "sweep"}
    assert set(named) >= {"clean", "noise", "fgsm", "square", "worst_case", *SEVERAL}
    for attack, steps in STRONG[main_task].items():
        row = named[attack]
        assert (row.attack, row.steps, row.restarts) == (attack, steps, 1)
        assert (row.norm, row.epsilon) == ("linf", EPSILON)
        assert row.attacked_tasks == (main_task,)
        members = [each for each in own if each.condition.startswith(f"{attack}/")]
        if main_task != "normals":
            assert {m.condition.removeprefix(f"{attack}/") for m in members} == MEMBERS[attack]
        assert all(damage(member) <= damage(row) for member in members)
        assert damage(named["clean"]) <= damage(row)
    for row in rows:
        assert row.attack_version == (ATTACK_VERSION if row.epsilon else 0)
    assert damage(named["worst_case"]) == max(map(damage, named.values()))
    assert {row.task for row in rows} == {main_task, AUXILIARY.get(main_task, "segmentation")}
    assert all(math.isfinite(row.score) for row in rows)


@pytest.mark.parametrize("main_task", ["segmentation", "classification", "depth"])
def test_full_does_so_in_six_balls(main_task, make_run):
    run = make_run(main_task)
    _, own = run_suite(run, "full")
    main = next(iter(STRONG[main_task]))
    strong = {(r.norm, r.epsilon): r for r in own if r.condition == main}
    worst = {(r.norm, r.epsilon): r for r in own if r.condition == "worst_case"}
    assert set(strong) == set(worst)
    for norm, radius in (("linf", EPSILON), ("l2", 0.25)):  # the field's pair on 32 pixels
        radii = sorted(epsilon for found, epsilon in strong if found == norm)
        assert radii == pytest.approx([radius / 2, radius, 2 * radius])
    for ball, row in worst.items():
        assert damage(row) >= damage(strong[ball])
        inside = [r for b, r in worst.items() if b[0] == ball[0] and b[1] <= ball[1]]
        assert damage(row) == max(map(damage, inside)), "a larger ball holds the smaller one"
    written = run.storage.names("shards", ".parquet")
    told = []
    again = evaluate(
        0,
        run=run.path,
        options=EvaluationOptions("full", images=2),
        progress=lambda *news: told.append(news),
    )
    assert (told, run.storage.names("shards", ".parquet")) == ([], written)
    assert {row.suite for row in again.rows} == {"full"}


@pytest.mark.parametrize("main_task", ["segmentation", "classification", "depth"])
def test_an_l1_ball_is_evaluated_without_what_has_no_step_for_it(main_task, make_run):
    rows, own = run_suite(make_run(main_task), "standard", norm="l1", epsilon=30.0)
    named = {row.condition: row for row in own}
    main = {"segmentation": "sea", "classification": "apgd_targeted", "depth": "apgd_metrics"}
    assert damage(named[main[main_task]]) >= damage(named["clean"])
    assert not {"square", "tempered", "autoattack"} & set(named)
    assert {row.norm for row in rows if row.epsilon} == {"l1"}
    assert all(math.isfinite(row.score) for row in rows)


def test_normals_under_attack_have_a_larger_angle(make_run):
    """Regression: the angle grows from clean images over noise to the attack, in every row."""
    run = make_run("normals")
    for suite in ("quick", "standard"):
        _, own = run_suite(run, suite)
        named = {row.condition: row for row in own if row.condition != "sweep"}
        clean, attacked, worst = (named[name] for name in ("clean", "apgd_metrics", "worst_case"))
        assert (clean.task, clean.score_name, clean.direction) == (
            "normals",
            "angular_error",
            "minimize",
        )
        assert 0 < clean.score < 90
        assert clean.score + 1 < attacked.score <= worst.score <= 180
        assert named["noise"].score < attacked.score
        assert attacked.low <= attacked.score <= attacked.high
        assert attacked.vulnerability > 0
        sweep = [row.score for row in own if row.condition == "sweep"]
        assert min(sweep) == sweep[0] == clean.score
