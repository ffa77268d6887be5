"""The README is true: its commands run in the order they stand there, its spaces are valid."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from taskgroup.search.space.search_space import load_space

ROOT = Path(__file__).parent.parent
FEWER = ("--fix", "search.trials=3", "--fix", "training.epochs=1")


def blocks(language: str) -> list[str]:
    """Blocks of the README in one language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def bash_lines() -> list[str]:
    """Lines of every ``bash`` block of the README."""
    return [line for block in blocks("bash") for line in block.splitlines() if line]


def run(arguments: list[str], folder: Path) -> None:
    """Run the command line in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "taskgroup", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stderr}"


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """A folder with 40 images in two classes, and the README's space for them."""
    for kind in ("circles", "squares"):
        place = tmp_path / "my_photos" / kind
        place.mkdir(parents=True)
        for number in range(20):
            image = Image.new("RGB", (60 + number, 80 - number), (200, 12 * number, 90))
            draw = ImageDraw.Draw(image)
            shape = draw.ellipse if kind == "circles" else draw.rectangle
            shape((number, number, number + 30, number + 30), fill=(0, 0, 12 * number))
            image.save(place / f"{number}.png")
    (tmp_path / "my_photos.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    return tmp_path


def test_set_up_commands_make_or_reuse_the_environment():
    set_up = [line for line in bash_lines() if "pip install" in line]
    assert len(set_up) == 2
    assert all(line.startswith("python3 -m venv .venv && ") for line in set_up)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_taskgroup_commands_run_on_the_smoke_space(tmp_path):
    commands = [line for line in bash_lines() if line.startswith("taskgroup ")]
    assert any("search" in line for line in commands)
    for line in commands:
        run(shlex.split(line.replace("quickstart", "smoke"))[1:], tmp_path)
    assert list(tmp_path.glob("runs/*/report.html"))


def test_the_space_for_own_images_is_valid(own_images: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(own_images)
    space = load_space("my_photos.yaml")
    assert set(space.example().auxiliary_tasks) == {"autoencoding", "edges", "keypoints2d"}


def test_the_space_shown_is_all_of_quickstart():
    shipped = (ROOT / "search_spaces" / "quickstart.yaml").read_text(encoding="utf-8")
    assert blocks("yaml")[1] == shipped


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_commands_for_own_images_run(own_images: Path):
    (commands,) = blocks("shell")
    for line in commands.splitlines():
        run([*shlex.split(line)[1:], *(FEWER if " search " in line else ())], own_images)
    assert (own_images / "image_folder.png").is_file()
    assert list(own_images.glob("runs/my_photos-1/evaluations/*.parquet"))
