"""Write a study's tables as Markdown and its charts as PNG files, for a page below docs/studies.

A grid study with several seeds has its own tables; any other one that of its trials.

    python benchmarks/study_page.py runs/camvid_auxiliary-1 docs/studies/camvid

Needs Chromium on the path. Charts only: photographs from data sets are not ours to publish.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import taskgroup.analysis.charts  # noqa: F401 - registers the charts
from taskgroup.analysis.base import CHARTS
from taskgroup.analysis.report.grid_page import grid_tables
from taskgroup.analysis.tables.base import Table, study_table
from taskgroup.analysis.tables.evaluations import evaluation_table
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.loading import read_study
from taskgroup.study.study import Study

CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--virtual-time-budget=4000",
)


def markdown(table: Table) -> str:
    """A table as GitHub shows it."""
    head = "| " + " | ".join(table.columns) + " |"
    rule = "|" + "|".join("--:" if i in table.numeric else "---" for i in range(len(table.columns)))
    rows = ["| " + " | ".join(row.cells) + " |" for row in table.rows]
    return "\n".join([head, rule + "|", *rows, "", *table.notes])


def write_charts(study: Study, stem: Path) -> list[Path]:
    """One PNG per chart that has something to draw: ``<stem>_<chart>.png``."""
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for name in CHARTS:
            figure = CHARTS[name](study).figure
            if figure is None:
                continue
            page = Path(folder) / f"{name}.html"
            figure.write_html(page, config={"displayModeBar": False}, default_width="900px")
            path = stem.with_name(f"{stem.name}_{name}.png")
            height = int(figure.layout.height) + 20
            options = [f"--window-size=916,{height}", f"--user-data-dir={folder}/profile"]
            shot = f"--screenshot={path.resolve()}"
            subprocess.run(
                ["chromium", *CHROMIUM, *options, shot, page.as_uri()],
                check=True,
                capture_output=True,
            )
            written.append(path)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("stem", type=Path)
    options = parser.parse_args()
    study = read_study(RunDirectory.open(options.run))
    tables = [table for _, _, table in grid_tables(study)]  # those of a grid say it all
    if not tables:
        tables = [study_table(study)]
        if study.evaluations:
            tables.append(evaluation_table(study.evaluations, study.searched))
    print("\n\n".join(markdown(table) for table in tables))
    for path in write_charts(study, options.stem):
        print(f"\n![{path.stem}]({path.name})")


if __name__ == "__main__":
    main()
