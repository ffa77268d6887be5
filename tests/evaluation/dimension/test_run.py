"""``dimension`` on small checkpoints: what it measures, where it writes, what it refuses."""

import json
import math
from dataclasses import replace
from shutil import copytree

import numpy as np
import pytest
from typer.testing import CliRunner

from taskgroup.cli import app
from taskgroup.data.scenes import SceneConfig
from taskgroup.errors import ConfigError, DataError
from taskgroup.evaluation.dimension import attack_curves
from taskgroup.evaluation.dimension.options import DimensionOptions
from taskgroup.evaluation.dimension.run import analyse_dimension
from taskgroup.evaluation.scoring import predict
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.checkpoint import Checkpoint, save_checkpoint
from taskgroup.results.record_files import DIMENSIONS, TASK_GRADIENTS
from taskgroup.results.records import EpochRow, TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.results.storage.base import open_storage
from taskgroup.tasks.base import build_task

SPACE = "main_task: segmentation\nobjectives: [{maximize: segmentation/robust/miou}]\n"
DATASET = {"name": "scenes", "image_size": 32, "test": 3, "train": 1, "seed": 77}
CONFIG = {
    "dataset": DATASET,
    "model": {"backbone": "resnet_small", "width": 4, "decoder_width": 4},
    "main_task": "segmentation",
    "validation": {"attack": "pgd", "norm": "linf", "epsilon": 4 / 255},
}
FEW = DimensionOptions(images=3, repeats=2, steps=2, outputs=(1, 20, 1024))
TRIALS = [  # label, role, auxiliary tasks
    ("main only, natural", "baseline", ()),
    ("segmentation+depth+classification", "searched", ("depth", "classification")),
]


def write_checkpoint(path, auxiliary=(), *, main_task="segmentation", seed=0):
    infos = SceneConfig(**DATASET).tasks()
    chosen = tuple(infos[name] for name in (main_task, *auxiliary))
    tasks = [build_task(info) for info in chosen]
    model = build_model(ModelConfig(**CONFIG["model"]), tasks, seed=seed)
    config = {**CONFIG, "main_task": main_task}
    path.parent.mkdir(exist_ok=True)
    save_checkpoint(
        Checkpoint(config=config, tasks=chosen, weights=model.state_dict(), epoch=1), path
    )
    return path


def write_trial(run, number, label, role, auxiliary):
    path = write_checkpoint(run.checkpoint_path(number), auxiliary, seed=number)
    run.write_trial(
        TrialResult(
            number=number,
            label=label,
            role=role,
            config=CONFIG,
            parameters={},
            main_task="segmentation",
            auxiliary_tasks=auxiliary,
            output_dimension=1,
            status="complete",
            epochs=(EpochRow(1, {"segmentation/robust/miou": 0.1 + number}, 1.0, 1),),
            checkpoint=f"checkpoints/{path.name}",
        )
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of two trials."""
    run = RunDirectory.create(tmp_path_factory.mktemp("made"), "small", SPACE)
    for number, trial in enumerate(TRIALS):
        write_trial(run, number, *trial)
    return run


@pytest.fixture
def run(made, tmp_path):
    """A copy of it to write into."""
    return RunDirectory.open(copytree(made.path, tmp_path / "small"))


@pytest.fixture(scope="module")
def found(made, tmp_path_factory):
    """Everything about both trials, and the copy of the run that it was written to."""
    run = RunDirectory.open(copytree(made.path, tmp_path_factory.mktemp("found") / "small"))
    told = []
    result = analyse_dimension([run.place], options=FEW, progress=lambda *n: told.append(n))
    return run, result, told


def of(rows, **fields):
    return [row for row in rows if all(getattr(row, k) == v for k, v in fields.items())]


def test_a_run_gives_the_winner_and_its_baselines(found):
    run, result, told = found
    assert {(row.trial, row.role) for row in result.rows} == {(1, "winner"), (0, "baseline")}
    assert (result.place, result.is_run) == (run.place, True)
    stored = [*DIMENSIONS.latest(run.storage), *TASK_GRADIENTS.latest(run.storage)]
    found_now = [*result.rows, *result.task_gradients]
    assert list(map(repr, stored)) == list(map(repr, found_now))  # NaN where nothing varies
    done, totals, labels = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]
    assert "main only, natural: attack" in labels


def test_gradients_against_outputs(found):
    _, result, _ = found
    curves = of(result.rows, trial=1, measure="gradient_norm", counted="outputs")
    squares = of(curves, score_name="root_mean_square")
    assert [row.count for row in squares] == [1, 20, 1024]
    assert [row.samples for row in squares] == [2, 2, 1]  # all pixels are always the same
    assert squares[0].value > squares[1].value > squares[2].value
    for row, mean in zip(squares, of(curves, score_name="mean"), strict=True):
        assert row.value == pytest.approx(np.mean(row.values) ** 0.5)
        assert mean.value == pytest.approx(np.mean(mean.values))
        assert mean.value <= row.value * (1 + 1e-6)
        assert row.low <= row.value <= row.high
        assert (row.images, row.clean, row.grid) == (3, None, "chosen")


def test_scores_against_outputs(found):
    _, result, _ = found
    rows = of(result.rows, trial=0, measure="robust_score", counted="outputs")
    assert [(row.count, row.score_name, row.direction) for row in rows] == [
        (count, "accuracy", "maximize") for count in (1, 20, 1024)
    ]
    assert rows[-1].value < rows[-1].clean
    assert rows[0].value * 6 == pytest.approx(round(rows[0].value * 6))  # six pixels
    assert {(r.attack, r.steps, r.norm, r.epsilon) for r in rows} == {("pgd", 2, "linf", 4 / 255)}


def test_curves_against_tasks(found):
    _, result, _ = found
    unit = of(result.rows, trial=1, counted="tasks", combine="unit_gradient")
    norms = of(unit, score_name="root_mean_square")
    assert [(row.count, row.samples) for row in norms] == [(1, 3), (2, 3), (3, 1)]
    assert norms[0].value == pytest.approx(1)
    assert norms[2].value < norms[1].value < 1
    scores = of(unit, measure="robust_score")
    assert [(row.count, row.samples) for row in scores] == [(1, 1), (2, 2), (3, 1)]
    plain = of(result.rows, trial=1, counted="tasks", combine="sum", measure="robust_score")
    assert (plain[0].value, plain[0].count) == (scores[0].value, 1)
    assert {row.score_name for row in plain} == {"miou"}
    alone = of(result.rows, trial=0, counted="tasks", measure="robust_score")
    assert [row.count for row in alone] == [1, 1]


def test_task_gradients(found):
    _, result, _ = found
    rows = of(result.task_gradients, trial=1)
    cosines = {(r.task, r.other): r.value for r in of(rows, quantity="cosine")}
    assert len(cosines) == 9
    assert cosines["depth", "segmentation"] == cosines["segmentation", "depth"]
    assert cosines["depth", "depth"] == pytest.approx(1)
    assert all(row.value > 0 for row in of(rows, quantity="norm"))
    total = of(rows, quantity="balanced_norm")[0]
    assert 3**-1 <= total.value <= 1
    assert len(of(rows, quantity="balanced_cosine")) == 3


def test_the_latest_curve_of_a_kind_stands(found):
    run, result, _ = found
    again = DimensionOptions(parts=("gradient",), outputs=(2, 8), images=1, repeats=1)
    analyse_dimension(["1"], run=run.path, options=again)
    rows = DIMENSIONS.latest(run.storage)
    assert {r.count for r in of(rows, trial=1, measure="gradient_norm", counted="outputs")} == {
        2,
        8,
    }
    kept = of(rows, trial=0)
    assert list(map(repr, kept)) == list(map(repr, of(result.rows, trial=0)))
    assert of(rows, trial=1, measure="robust_score", counted="outputs")


def test_a_checkpoint_without_a_run_gets_a_page_beside_it(tmp_path):
    path = write_checkpoint(tmp_path / "mine.pt")
    arguments = ["dimension", str(path), "--images", "1", "--repeats", "1", "--part", "gradient"]
    printed = CliRunner().invoke(app, [*arguments, "--outputs", "1", "--outputs", "9"])
    assert printed.exit_code == 0, printed.output
    assert {row.label for row in DIMENSIONS.latest(open_storage(tmp_path))} == {"mine"}
    assert "mine" in printed.stdout
    assert "M=9" in printed.stdout
    assert "chart-dimension" in (tmp_path / "dimension.html").read_text()


def test_networks_of_several_places_need_an_output(run, tmp_path):
    path = write_checkpoint(tmp_path / "other" / "mine.pt")
    options = DimensionOptions(parts=("tasks",), images=1)
    with pytest.raises(ConfigError, match=r"several places .* name it with --output"):
        analyse_dimension([run.place, str(path)], options=options)
    result = analyse_dimension(
        [run.place, str(path), str(path)], options=options, output=tmp_path / "both"
    )
    labels = dict.fromkeys(row.label for row in result.rows)
    assert list(labels) == [
        "small: segmentation+depth+classification",
        "small: main only, natural",
        "other: mine",
    ]
    assert not (run.path / "dimension").exists()
    assert not result.is_run


def test_json_is_for_machines(run):
    arguments = ["dimension", "1", "--run", run.place, "--json", "--images", "2", "--steps", "1"]
    printed = CliRunner().invoke(app, [*arguments, "--outputs", "1", "--outputs", "50"])
    assert printed.exit_code == 0, printed.output
    content = json.loads(printed.stdout)
    assert list(content) == ["gradient", "attack", "tasks", "task_attack", "task_gradients"]
    assert content["gradient"][0]["law"]["c"] <= 1
    assert [point["count"] for point in content["attack"][0]["points"]] == [1, 50]
    assert content["task_gradients"][1]["cosines"]["depth"] == pytest.approx(1)


def test_the_published_script_can_be_followed(run):
    options = DimensionOptions(
        parts=("gradient", "attack", "tasks"), outputs=(1, 30), seed_compatible=True, repeats=1
    )
    result = analyse_dimension(["0"], run=run.path, options=options)
    gradient = of(result.rows, measure="gradient_norm", counted="outputs")[0]
    assert (gradient.images, gradient.seed_compatible) == (2, True)  # two pairs of three images
    attack = of(result.rows, measure="robust_score")[0]
    assert (attack.steps, attack.restarts) == (5, 1)


def test_a_network_of_one_task_has_no_tasks_to_count(tmp_path):
    path = str(write_checkpoint(tmp_path / "a.pt", ()))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="a network of several tasks to count them, but found only"):
        analyse_dimension([path], options=DimensionOptions(images=2, parts=("tasks",)))
    assert sorted(tmp_path.rglob("*")) == before


def test_one_output_per_image_has_tasks_only(tmp_path):
    path = str(write_checkpoint(tmp_path / "a.pt", ("depth",), main_task="classification"))
    options = DimensionOptions(images=2, steps=1)
    result = analyse_dimension([path], options=options)
    assert {row.counted for row in result.rows} == {"tasks"}
    assert all(not math.isnan(row.value) for row in result.rows)
    dense = DimensionOptions(images=2, task="depth", parts=("gradient",), outputs=(5,))
    assert {row.task for row in analyse_dimension([path], options=dense).rows} == {"depth"}
    with pytest.raises(ConfigError, match="'classification' gives one output per image; choose"):
        analyse_dimension([path], options=DimensionOptions(parts=("attack",)))


@pytest.mark.parametrize(
    ("target", "options", "error", "message"),
    [
        ("0", {"outputs": (1025,)}, ConfigError, "between 1 and the 1024 valid pixels"),
        ("0", {"task": "depht"}, ConfigError, "got 'depht'; choose from: segmentation"),
        ("7", {}, ConfigError, "no trial 7"),
        ("nothing.pt", {}, DataError, "nothing.pt must be best, a trial's number, a run"),
        ("0", {"epsilon": "8"}, ConfigError, "8/255"),
    ],
)
def test_mistakes_are_told_in_one_line(run, target, options, error, message):
    told = []
    with pytest.raises(error, match=message) as caught:
        analyse_dimension(
            [target],
            run=run.path,
            options=DimensionOptions(**options),
            progress=lambda *n: told.append(n),
        )
    assert "\n" not in str(caught.value)
    assert told == []  # nothing was measured before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ("gradients",)}, "part must be one of: gradient, attack, tasks, task_attack"),
        ({"grid": "sede"}, "grid must be one of"),
        ({"images": 0}, "images must be at least 1"),
        ({"seed": -1}, "seed must be at least 0 and below"),
        ({"attack": "pdg"}, "pdg"),
    ],
)
def test_options_are_checked_before_anything_is_loaded(options, message):
    with pytest.raises(ConfigError, match=message):
        DimensionOptions(**options)


def test_clean_images_are_predicted_once_for_all_attacks(run, monkeypatch):
    images = []

    def counting(model, batch, tasks):
        images.append(len(batch))
        return predict(model, batch, tasks)

    monkeypatch.setattr(attack_curves, "predict", counting)
    analyse_dimension([run.place], options=replace(FEW, parts=("attack", "task_attack")))
    assert sum(images) == 2 * 2 * FEW.images  # two networks, two curves
