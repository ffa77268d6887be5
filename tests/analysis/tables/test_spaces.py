from pathlib import Path

from taskgroup.analysis.tables.spaces import spaces_table
from taskgroup.search.space.find import list_spaces


def test_lists_every_space_and_says_which_file_is_broken(tmp_path: Path) -> None:
    torn = tmp_path / "torn.yaml"
    torn.write_text("name: [")
    spaces = {**list_spaces(), "torn": torn}
    table = spaces_table(spaces)
    rows = {row["name"]: row for row in table.to_json()}
    assert set(rows) == set(spaces)
    assert rows["torn"]["description"].startswith("broken: ")
    assert rows["smoke"]["main task"] == "segmentation"
