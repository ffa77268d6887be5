"""docs/search.md says each thing once."""

import re
from collections import Counter
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "search.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_no_sentence_stands_twice(page: str) -> None:
    prose = re.sub(r"```.*?```|^\|.*?$", "", page, flags=re.DOTALL | re.MULTILINE)
    sentences = Counter(" ".join(part.split()) for part in re.split(r"[.:;]\s|\n\n", prose))
    assert [text for text, count in sentences.items() if count > 1 and len(text) > 24] == []


def test_optunas_table_has_one_row_for_what_repeats_a_trial(page: str) -> None:
    assert len(re.findall(r"^\| [^|]*repeats[^|]* \| FAIL", page, flags=re.MULTILINE)) == 1
