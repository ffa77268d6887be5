import tarfile
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from urllib.request import urlopen

import pytest
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

from taskgroup.data.base import DATASETS, parse_dataset
from taskgroup.data.files import download as module
from taskgroup.data.files.download import Download, fetch
from taskgroup.errors import ConfigError, DataError, ResourceError


def checksum(path: Path) -> str:
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def published(cifar10_root: Path, tmp_path: Path) -> Download:
    """The miniature CIFAR-10 as its authors would publish it, on this disk."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(cifar10_root / "cifar-10-batches-py", "cifar-10-batches-py")
    return Download("cifar-10-batches-py", {path.as_uri(): checksum(path)})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep me")
    return folder


def test_an_archive_arrives_whole(published: Download, root: Path, cifar10_root: Path) -> None:
    target = fetch(published, root)
    assert target == root / "cifar-10-batches-py"
    assert everything(target) == everything(cifar10_root / "cifar-10-batches-py")
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "mine.txt"]


def test_loose_files_arrive_together(tmp_path: Path, root: Path) -> None:
    files = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for path in files:
        path.write_bytes(path.name.encode())
    addresses = {path.as_uri(): checksum(path) for path in files}
    target = fetch(Download("Set/raw", addresses, is_archive=False), root / "new" / "deep")
    assert target == root / "new" / "deep" / "Set" / "raw"
    assert everything(target) == ["a.gz", "b.gz"]


@pytest.mark.parametrize("interruption", [OSError("connection reset"), KeyboardInterrupt()])
def test_an_interruption_leaves_nothing(
    published: Download, root: Path, monkeypatch: pytest.MonkeyPatch, interruption: BaseException
) -> None:
    class Broken:
        """A connection that sends something and then breaks."""

        def __enter__(self) -> "Broken":
            self.parts = iter([b"x" * 1000])
            return self

        def __exit__(self, *reason: object) -> None: ...

        def read(self, size: int) -> bytes:
            for part in self.parts:
                return part
            raise interruption

    monkeypatch.setattr(module, "urlopen", lambda *args, **options: Broken())
    expected = DataError if isinstance(interruption, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        fetch(published, root)
    assert everything(root) == ["mine.txt"]
    if expected is DataError:
        assert "must be reachable for dataset.download, but connection reset" in str(caught.value)


def test_a_transfer_cut_short_leaves_nothing(published: Download, root: Path) -> None:
    (address,) = published.files
    path = Path(address.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"must send a file with MD5 .* may have been cut short"):
        fetch(published, root)
    assert everything(root) == ["mine.txt"]


def test_the_second_of_two_files_missing_leaves_nothing(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"a")
    absent = (tmp_path / "b.gz").as_uri()
    files = {path.as_uri(): checksum(path), absent: checksum(path)}
    with pytest.raises(DataError, match=r"b\.gz must be reachable"):
        fetch(Download("Set/raw", files, is_archive=False), root)
    assert everything(root) == ["mine.txt"]


def test_a_foreign_archive_leaves_nothing(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.tar\.gz must be a whole tar archive"):
        fetch(Download("folder", {path.as_uri(): checksum(path)}), root)
    assert everything(root) == ["mine.txt"]


def test_an_archive_cannot_write_elsewhere(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "a.tar"
    (tmp_path / "evil").write_text("evil")
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "evil", "../../outside")
    with pytest.raises(DataError, match="must be a whole tar archive"):
        fetch(Download("folder", {path.as_uri(): checksum(path)}), root)
    assert everything(root) == ["mine.txt"]


def test_an_unwritable_folder_is_one_line(published: Download, root: Path) -> None:
    occupied = root / "mine.txt" / "below"
    with pytest.raises(ResourceError, match=r"dataset\.download must be able to write to"):
        fetch(published, occupied)


def test_other_files_in_the_way_are_kept(published: Download, root: Path) -> None:
    (root / "cifar-10-batches-py").mkdir()
    (root / "cifar-10-batches-py" / "data_batch_1").write_text("mine")
    with pytest.raises(DataError, match="must be absent or empty"):
        fetch(published, root)
    assert (root / "cifar-10-batches-py" / "data_batch_1").read_text() == "mine"


def test_a_faster_process_wins(
    published: Download, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(module, "urlopen", urlopen)
        (fetch(published, root) / "first").touch()
        return urlopen(*arguments, **options)

    monkeypatch.setattr(module, "urlopen", overtaken)
    assert (fetch(published, root) / "first").exists()
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", "mine.txt"]


def test_a_reader_fetches_what_is_missing_and_once(
    published: Download, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DATASETS["cifar10"], "archive", published)
    values = {"name": "cifar10", "root": str(root)}
    with pytest.raises(DataError, match="or set download: true"):
        parse_dataset(values).tasks()
    config = parse_dataset({**values, "download": True})
    assert len(config.open("test", ())) == 6
    broken = replace(published, files={"file:///nowhere": ""})
    monkeypatch.setattr(DATASETS["cifar10"], "archive", broken)
    again = parse_dataset({**values, "download": True, "seed": 5})
    assert len(again.open("test", ())) == 6


def test_a_reader_fetches_into_a_new_folder_or_the_environment(
    published: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DATASETS["cifar10"], "archive", published)
    values = {"name": "cifar10", "download": True}
    with pytest.raises(
        ConfigError, match=r"needs a folder to write to, got none; set dataset.root"
    ):
        parse_dataset(values).tasks()
    new = tmp_path / "new" / "root"
    assert len(parse_dataset({**values, "root": str(new)}).open("test", ())) == 6
    monkeypatch.setenv("TASKGROUP_DATA", str(tmp_path / "elsewhere"))
    assert len(parse_dataset({**values, "seed": 2}).open("test", ())) == 6
    assert (tmp_path / "elsewhere" / "cifar-10-batches-py" / "test_batch").exists()


def test_addresses_and_checksums_are_torchvisions() -> None:
    for name, theirs in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        archive = DATASETS[name].archive
        assert archive == Download(theirs.base_folder, {theirs.url: theirs.tgz_md5})
    fashion = DATASETS["fashion_mnist"].archive
    (mirror,) = FashionMNIST.mirrors
    assert fashion.files == {mirror + file: digest for file, digest in FashionMNIST.resources}
