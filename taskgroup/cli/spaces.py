"""``spaces`` and ``schema``: list, print and check search spaces."""

import json
from typing import Annotated

import typer

from taskgroup.cli.app import app, group
from taskgroup.cli.options import Fix, Json, print_table

spaces_app = group("List, print and check search spaces.")
app.add_typer(spaces_app, name="spaces")


@spaces_app.command("list")
def spaces_list(as_json: Json = False) -> None:
    """List every space that `search --space NAME` finds."""
    from taskgroup.analysis.tables.spaces import spaces_table
    from taskgroup.search.space.find import list_spaces

    print_table(spaces_table(list_spaces()), as_json)


@spaces_app.command("show")
def spaces_show(name: Annotated[str, typer.Argument(help="Name or path of a space.")]) -> None:
    """Print the YAML of a space."""
    from taskgroup.search.space.find import find_space

    typer.echo(find_space(name).read_text(encoding="utf-8"), nl=False)


@spaces_app.command("check")
def spaces_check(
    file: Annotated[str, typer.Argument(help="Path or name of a space.")], fix: Fix = None
) -> None:
    """Check a space without running it."""
    from taskgroup.search.plan.preflight import check_names, told_lines
    from taskgroup.search.space.search_space import load_space

    space = load_space(file, fixes=fix or ())
    check_names(space)
    typer.echo(f"{file}: ok, {space.describe()}")
    for line in told_lines(space):
        typer.echo(f"  {line}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a search space, for completion in an editor."""
    from taskgroup.search.space.schema import space_schema

    typer.echo(json.dumps(space_schema(), indent=2))
