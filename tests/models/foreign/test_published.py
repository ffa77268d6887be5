"""Published checkpoints: both families of names, and one line for every file that does not fit."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from taskgroup.errors import ConfigError, DataError
from taskgroup.models.base import ModelConfig
from taskgroup.models.build import build_model
from taskgroup.models.foreign.key_families import CITYSCAPES_MEAN, CITYSCAPES_STD
from taskgroup.models.foreign.published import build_published, complete, load_published
from taskgroup.models.multitask import MultitaskModel
from taskgroup.tasks.base import Target, Task

Tasks = Callable[..., list[Task]]
Names = Callable[[MultitaskModel], dict[str, Tensor]]
NAMES = ("segmentation", "depth", "autoencoding")

pytestmark = pytest.mark.usefixtures("small_drn")


@pytest.fixture
def build(make_tasks: Tasks, generator: torch.Generator) -> Callable[..., MultitaskModel]:
    """Networks as they were trained: normalised as Cityscapes, statistics moved."""

    def made(*names: str, **options: object) -> MultitaskModel:
        section = {"backbone": "drn_d_22", "decoder": "bilinear"} | options
        section |= {"mean": CITYSCAPES_MEAN, "std": CITYSCAPES_STD}
        model = build_model(ModelConfig.model_validate(section), make_tasks(*names), seed=3)
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(std=0.1, generator=generator)
        return model.eval()

    return made


@pytest.fixture
def load(make_tasks: Tasks) -> Callable[..., MultitaskModel]:
    """What a file becomes: the network asked for with the heads asked for."""

    def loaded(path: Path, *names: str, **section: object) -> MultitaskModel:
        published = load_published(path)
        kept = {h.name: h.task for h in published.heads if not names or h.task in names}
        config = complete({"backbone": "drn_d_22"} | section, published)
        return build_published(published, config, make_tasks(*kept.values()), kept)

    return loaded


def saved(weights: object, path: Path, *, old: bool = False) -> Path:
    torch.save(weights, path, _use_new_zipfile_serialization=not old)
    return path


def assert_same(one: MultitaskModel, other: MultitaskModel) -> None:
    images = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected, found = one(images), other(images)
    assert found
    for name, prediction in found.items():
        theirs = expected[name]
        if name == "autoencoding":  # published networks predict the normalised image
            theirs = theirs * one.std + one.mean
        torch.testing.assert_close(prediction, theirs)


def one_line(function: Callable[[], object], match: str, error: type = DataError) -> None:
    with pytest.raises(error, match=match) as caught:
        function()
    assert "\n" not in str(caught.value)


def without_counters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in weights.items() if value.ndim}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before torch 1.6"])
def test_a_bare_dictionary_without_counters(
    old: bool, build, load, as_segmentation: Names, tmp_path: Path
) -> None:
    model = build("segmentation")
    weights = without_counters(as_segmentation(model))
    assert len(weights) < len(as_segmentation(model))
    path = saved(weights, tmp_path / "drn_d_22_cityscapes.pth", old=old)
    assert_same(model, load(path))


def test_the_training_scripts_dictionary(build, load, as_multitask: Names, tmp_path: Path) -> None:
    model = build(*NAMES)
    state = {f"module.{key}": value for key, value in as_multitask(model).items()}
    content = {"epoch": 201, "arch": "drn_d_22", "state_dict": state, "best_prec1": np.float64(3)}
    path = saved(content, tmp_path / "checkpoint_200.pth.tar")
    assert_same(model, load(path))
    assert load(path).task_names == NAMES
    assert_same(model, load(path, "depth"))
    assert load(path, "depth").task_names == ("depth",)


def test_both_families_give_the_same_network(
    build, load, as_segmentation: Names, as_multitask: Names, tmp_path: Path
) -> None:
    model = build("segmentation")
    single = load(saved(as_segmentation(model), tmp_path / "single.pth")).state_dict()
    multitask = load(saved(as_multitask(model), tmp_path / "multitask.pth")).state_dict()
    assert single.keys() == multitask.keys()
    assert all(torch.equal(value, multitask[name]) for name, value in single.items())


@pytest.mark.parametrize("names", [("segmentation",), NAMES])
def test_shared_levels_can_be_loaded_untied(
    names: tuple[str, ...], build, load, as_segmentation: Names, as_multitask: Names, tmp_path: Path
) -> None:
    model = build(*names)
    write = as_segmentation if len(names) == 1 else as_multitask
    untied = load(saved(write(model), tmp_path / "tied.pth"), untied=True)
    assert_same(model, untied)
    assert any(name.startswith("heads.segmentation.layers") for name in untied.state_dict())


def test_levels_that_differ_are_not_shared(
    build, load, as_multitask: Names, tmp_path: Path
) -> None:
    model = build(*NAMES, untied=True)
    path = saved(as_multitask(model), tmp_path / "untied.pth")
    one_line(
        lambda: load(path),
        r"untied\.pth must repeat what its tasks share, but task_to_decoder\.depth_zbuffer\.0\.0\."
        r"conv1\.weight differs from task_to_decoder\.segmentsemantic\.0\.0\.conv1\.weight.*untied",
    )
    assert_same(model, load(path, untied=True))
    assert_same(model, load(path, "depth"))  # one task alone repeats nothing


def test_another_network_is_named(build, load, as_segmentation: Names, tmp_path: Path) -> None:
    path = saved(as_segmentation(build("segmentation", backbone="drn_d_38")), tmp_path / "a.pth")
    one_line(
        lambda: load(path),
        r"a\.pth must hold the weights of drn_d_22 with decoder bilinear, but \d+ do not fit: "
        r".* is left over; they fit --model drn_d_38$",
    )
    one_line(lambda: load(path, backbone="resnet18"), r"they fit --model drn_d_38$")


@pytest.mark.parametrize("key", ["base.3.0.conv1.weight", "base.0.1.running_var", "up.weight"])
def test_a_missing_weight_is_named(
    key: str, build, load, as_segmentation: Names, tmp_path: Path
) -> None:
    weights = as_segmentation(build("segmentation"))
    del weights[key]
    path = saved(weights, tmp_path / "a.pth")
    one_line(
        lambda: load(path), r"but 1 do not fit: \S+ is missing; the file is incomplete, or of a net"
    )


def test_a_weight_of_another_shape_is_named(
    build, load, as_segmentation: Names, tmp_path: Path
) -> None:
    weights = as_segmentation(build("segmentation")) | {"base.0.0.weight": torch.zeros(2, 3, 3, 3)}
    path = saved(weights, tmp_path / "a.pth")
    one_line(lambda: load(path), r"levels\.0\.0\.weight should have shape .*, found \(2, 3, 3, 3\)")


def test_normalisation_and_decoder_follow_the_file_unless_said(
    build, as_segmentation: Names, tmp_path: Path
) -> None:
    path = saved(as_segmentation(build("segmentation")), tmp_path / "a.pth")
    published = load_published(path)
    config = complete({"backbone": "drn_d_22"}, published)
    assert (config.decoder, config.mean, config.std) == (
        "bilinear",
        CITYSCAPES_MEAN,
        CITYSCAPES_STD,
    )
    said = complete({"backbone": "drn_d_22", "mean": [0.1, 0.2, 0.3]}, published)
    assert said.mean == (0.1, 0.2, 0.3)
    one_line(
        lambda: complete({"backbone": "drn_d_22", "untide": True}, published),
        r"--model: unknown key 'untide'; did you mean 'untied'",
        ConfigError,
    )


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("depth", "depth_zbuffer"),
        ("autoencoding", "autoencoder"),
        ("occlusion_edges", "edge_occlusion"),
    ],
)
def test_taskonomy_files_are_normalised_to_one(
    task: str, name: str, make_tasks: Tasks, tmp_path: Path
) -> None:
    config = ModelConfig(backbone="resnet18", decoder="taskonomy", mean=(0.5,) * 3, std=(0.5,) * 3)
    model = build_model(config, make_tasks(task), seed=1).eval()
    theirs = {
        key.replace("backbone.body.", "encoder.")
        .replace(f"heads.{task}.decoder.", f"task_to_decoder.{name}.")
        .replace(f"heads.{task}.predict.", f"task_to_decoder.{name}.conv_decode4."): value
        for key, value in model.state_dict().items()
        if key not in ("mean", "std")
    }
    published = load_published(saved(theirs, tmp_path / "taskonomy.pth"))
    section = complete({"backbone": "resnet18"}, published)
    assert (section.mean, section.std) == ((0.5,) * 3, (0.5,) * 3)
    tasks = make_tasks(task)
    assert_same(model, build_published(published, section, tasks, {name: task}))


def test_published_occlusion_edges_are_scored_like_logits(
    make_tasks: Tasks, generator: torch.Generator
) -> None:
    """They are 2p - 1, which is above 0 where the logit of p is; p may leave [0, 1]."""
    (task,) = make_tasks("occlusion_edges")
    shape = (2, 1, 8, 8)
    share = 2 * torch.rand(shape, generator=generator) - 0.5
    target = torch.rand(shape, generator=generator)
    valid = torch.rand(2, 8, 8, generator=generator) > 0.2
    published, logits = 2 * share - 1, torch.logit(share.clamp(1e-6, 1 - 1e-6))
    found = task.metric().per_image(published, target, valid)
    assert torch.equal(found, task.metric().per_image(logits, target, valid))
    losses = [task.loss(shown, Target(target, valid)).mean() for shown in (published, logits)]
    assert not torch.isclose(*losses)  # what an attack raises is another loss


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("old", [False, True])
def test_pickled_code_is_refused_and_not_run(old: bool, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    content = {"state_dict": {"base.0.0.weight": torch.zeros(2)}, "args": Hostile(witness)}
    path = saved(content, tmp_path / "evil.pth", old=old)
    one_line(lambda: load_published(path), r"found pickled code or damage; nothing was run: save")
    path.write_bytes(pickle.dumps(Hostile(witness)))
    one_line(lambda: load_published(path), r"found pickled code or damage; nothing was run")
    assert not witness.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, r"must hold a dictionary of weights, .* found an empty dictionary"),
        ([torch.zeros(1)], r"must hold a dictionary of weights, .* found list"),
        ({"epoch": 3}, r"must hold a dictionary of weights, .* found an entry 'epoch'"),
        ({"conv1.weight": torch.zeros(1)}, r"must name its weights as MTRobust or DRN.*conv1"),
    ],
)
def test_files_without_weights_that_we_know(content: object, message: str, tmp_path: Path) -> None:
    path = saved(content, tmp_path / "a.pth")
    one_line(lambda: load_published(path), message)


def test_files_that_are_none(build, as_segmentation: Names, tmp_path: Path) -> None:
    one_line(lambda: load_published(tmp_path / "no.pth"), r"no\.pth must be a file, found none")
    (tmp_path / "notes.pth").write_text("base.0.0.weight: 1")
    one_line(lambda: load_published(tmp_path / "notes.pth"), r"notes\.pth must ")
    path = saved(as_segmentation(build("segmentation")), tmp_path / "cut.pth")
    path.write_bytes(path.read_bytes()[:2000])
    one_line(lambda: load_published(path), r"cut\.pth must be a checkpoint, found a damaged")
