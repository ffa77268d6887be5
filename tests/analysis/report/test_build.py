"""The report: one file, nothing from outside, every name escaped, the answer on top."""

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from taskgroup.analysis.report.build import render_report, write_report
from taskgroup.analysis.report.headline import NOT_CONFIRMED, Headline, collect_headline
from taskgroup.analysis.report.panels import collect_panels
from taskgroup.analysis.report.png import (
    INVALID_COLOR,
    class_color,
    colour,
    encode_png,
    scale_limits,
)
from taskgroup.analysis.tables.evaluations import row_score
from taskgroup.cli import app
from taskgroup.results.records import EvaluationRow, Panel, TrialResult, pixel_bytes
from taskgroup.study.study import Study

MakeTrial = Callable[..., TrialResult]


class Page(HTMLParser):
    """Collects headings, addresses and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.text += data


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_report_of_failures_advises_nothing_that_runs_nothing(
    study: Study, make_trial: MakeTrial, epochs: int
) -> None:
    trials = tuple(make_trial(n, epochs=epochs, status="failed", reason="no") for n in range(3))
    failed = replace(study, trials=trials, evaluations=(), dimensions=(), task_gradients=())
    text = Page(render_report(failed)).text
    assert "taskgroup runs show" in text
    for useless in ("--resume", "taskgroup evaluate", "taskgroup confirm"):
        assert useless not in text
    assert ("--fix KEY=VALUE" in text) == (epochs == 0)


def test_the_report_is_one_file_that_needs_nothing_else(study: Study, panels: list[Panel]) -> None:
    html = render_report(study, panels)
    page = Page(html)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "default-src 'none'" in html
    assert page.addresses
    assert page.tags.count("link") == 0
    assert html.count("plotly.js v") == 1
    assert len(re.findall(r'<div id="chart-', html)) == 9
    assert len(html) < 8_000_000


def test_the_answer_stands_on_top(study: Study) -> None:
    text = Page(render_report(study)).text
    assert "No difference found: segmentation with normals and segmentation alone" in text
    assert "Trial 16, segmentation+normals, trained on PGD-3 at ε = 4/255" in text
    assert "loss weights normals 0.2 (main task 1)" in text
    assert "mIoU 30.1 % under PGD-10 at ε = 4/255, 52.4 % without attack" in text
    assert "On 256 test images that the search never saw" in text
    assert "+4.3 points" in text
    assert NOT_CONFIRMED in text
    assert "18 (15 complete, 2 pruned, 1 failed)" in text
    assert "0.12 s per trial" in text
    assert f"taskgroup evaluate best --run {study.place}" in text


def test_an_order_that_strong_attacks_reverse_is_said_first(study: Study) -> None:
    def told(rows: Iterable[EvaluationRow]) -> str:
        return " ".join(collect_headline(replace(study, evaluations=tuple(rows))).sentences)

    claim = "The order of the search does not hold under strong attacks: "
    assert claim not in told(study.evaluations)
    weakened = [
        replace(row, score=0.01) if row.role == "winner" and row.condition == "worst_case" else row
        for row in study.evaluations
    ]
    baselines = [r for r in weakened if r.role == "baseline" and r.condition == "worst_case"]
    best = max(baselines, key=lambda row: row.score)
    first = f"{claim}{best.label} (trial {best.trial}) keeps {row_score(best)}, the winner 1.0 %"
    assert told(weakened).startswith(first)
    assert claim not in told(replace(row, is_bound=True) for row in weakened)
    fewer = [replace(r, images=8) if r.role == "baseline" else r for r in weakened]
    assert claim not in told(fewer), "scores of other images are not compared"


def test_a_small_lead_of_one_seed_is_no_difference(make_trial: MakeTrial, study: Study) -> None:
    """Neither kind of network is said to beat the other by what other images would change."""

    def told(alone: float, images: float = 256.0) -> Headline:
        cost = {"validation_images": images}
        first = make_trial(0, label="main only, adversarial", robust=alone)
        others = make_trial(1, ("depth",), robust=0.3), make_trial(2, ("edges",), robust=0.2)
        trials = tuple(replace(trial, fidelity=cost) for trial in (first, *others))
        return collect_headline(replace(study, trials=trials, evaluations=()))

    none = told(0.302)
    assert none.title == "No difference found: segmentation alone and segmentation with depth"
    assert "differ by 0.2 points in the search, with one seed each" in none.sentences[0]
    assert told(0.298).title.startswith("No difference found: segmentation with depth and")
    assert told(0.5).title == "Most robust trial: segmentation alone"
    assert "differ by" not in told(0.5).sentences[0]
    assert told(0.5, images=8.0).title.startswith("No difference found")
    assert told(0.302).standings[0].label == "main only, adversarial"


def test_few_test_images_are_said_to_be_few(study: Study) -> None:
    def told(images: int) -> str:
        rows = tuple(replace(row, images=images) for row in study.evaluations)
        return collect_headline(replace(study, evaluations=rows)).sentences[-1]

    assert told(99).endswith("So few images cannot tell networks apart.")
    assert "So few" not in told(100)


def test_a_suspect_number_carries_its_warning(study: Study) -> None:
    rows = tuple(replace(r, verdict="gradient masking suspected: noise") for r in study.evaluations)
    sentence = collect_headline(replace(study, evaluations=rows)).sentences[-1]
    assert sentence.endswith("Warning: gradient masking suspected: noise.")
    page = render_report(replace(study, evaluations=rows))
    assert '<span class="alarm">gradient masking suspected: noise</span>' in page
    assert '<span class="alarm">' not in render_report(study)


def test_attacks_for_other_models_have_a_section_of_their_own(study: Study) -> None:
    page = render_report(study)
    assert "Attacks made for another model" in page
    assert 'id="chart-transfer"' in page
    assert 'id="chart-transfer"' not in render_report(replace(study, transfers=()))


def test_each_split_has_its_own_section(study: Study) -> None:
    rows = tuple(replace(row, split="confirm") for row in study.evaluations)
    both = replace(study, evaluations=(*study.evaluations, *rows))
    page = render_report(both)
    assert page.index("Evaluation on the test split") < page.index("on the confirm split")


@pytest.mark.parametrize("trials", [0, 1])
def test_small_studies_have_reports(
    trials: int, make_run: Callable[..., Any], make_trial: MakeTrial
) -> None:
    failed = make_trial(0, status="failed", reason="the loss became NaN", epochs=0)
    run = make_run([failed][:trials])
    assert write_report(run, Study.read(run)) == run.report_path
    text = Page(Path(run.report_path).read_text(encoding="utf-8")).text
    assert "No answer yet" in text
    assert ("1 failed: the loss became NaN." in text) is bool(trials)
    assert f"Complete trials: none of {trials}." in text


def test_names_cannot_write_html(make_run: Callable[..., Any], make_trial: MakeTrial) -> None:
    hostile = "</script><script>alert(1)</script>"
    trial = make_trial(0, (hostile,), label=hostile, reason=hostile)
    space = f"main_task: segmentation\nname: '{hostile}'\n"
    space += "objectives: [{maximize: segmentation/robust/miou}]\n"
    html = render_report(Study.read(make_run([trial], space=space, evaluated=True)))
    assert "alert(1)" in html
    assert "<script>alert(1)" not in html
    assert Page(html).tags.count("script") == 1 + html.count('<div id="chart-')


def test_a_torn_record_is_named_and_the_report_has_the_others(
    make_run: Callable[..., Any], make_trial: MakeTrial, left_out: Callable[[], list[str]]
) -> None:
    run = make_run([make_trial(0), make_trial(1)])
    (run.path / "trials" / "00000.parquet").write_bytes(b"PAR1")
    answer = CliRunner().invoke(app, ["report", "--run", run.place])
    assert answer.exit_code == 0
    assert len(left_out()) == 1
    assert Path(run.report_path).exists()


def test_panels_come_by_image_with_the_winner_first(study: Study, panels: list[Panel]) -> None:
    data = collect_panels(study, panels)
    assert [block.image for block in data.blocks] == [0, 1]
    assert [row.group for row in data.blocks[0].rows] == [
        "best", "adversarial", "natural", "several",
    ]  # fmt: skip
    assert data.heads == ("prediction", "APGD at ε = 4/255", "prediction")
    assert [name for name, _ in data.classes] == ["floor", "wall", "box", "ball"]
    assert all(cell.source for block in data.blocks for row in block.rows for cell in row.cells)


def make_panel(values: Any, kind: str, task: str = "depth") -> Panel:
    return Panel(
        0,
        "a",
        "winner",
        0,
        "clean",
        0.0,
        "target",
        task,
        kind,  # type: ignore[arg-type]
        np.shape(values),
        pixel_bytes(np.array(values), kind),
        ("cat", "dog"),
    )  # type: ignore[arg-type]


def test_classes_of_whole_images_are_words(study: Study) -> None:
    panel = make_panel(np.uint8(1), "classes", "classification")
    (block,) = collect_panels(study, [panel]).blocks
    assert block.target.text == "dog"
    unknown = replace(panel, values=b"\xff")
    (block,) = collect_panels(study, [unknown]).blocks
    assert block.target.text == "unknown"


def test_png_holds_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_colours_of_classes_numbers_and_nothing() -> None:
    classes = colour(make_panel([[0, 1], [255, 20]], "classes"))
    assert bytes(classes[0, 1]).hex() == class_color(1)[1:]
    assert tuple(classes[1, 0]) == INVALID_COLOR
    assert tuple(classes[1, 1]) == tuple(classes[0, 0])
    numbers = make_panel(np.array([[[0.0, np.nan, 9.0]]], np.float32), "numbers")
    shades = colour(numbers, limits=(0.0, 1.0))
    assert bytes(shades[0, 0]).hex() == "440154"
    assert bytes(shades[0, 2]).hex() == "fde725"
    assert tuple(shades[0, 1]) == INVALID_COLOR
    up = make_panel(np.array([[[0.0]], [[1.0]], [[-1.0]]], np.float32), "numbers", "normals")
    assert tuple(colour(up)[0, 0]) == (128, 255, 0)


def test_limits_ignore_what_is_unknown() -> None:
    assert scale_limits(np.full((1, 2, 2), np.nan)) == (0.0, 1.0)
    low, high = scale_limits(np.array([[[2.0, np.nan, 4.0]]]))
    assert 2 <= low < high <= 4
