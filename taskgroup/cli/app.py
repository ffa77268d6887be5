"""The root of the command line, and the rule that a user's mistake is reported in one line."""

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskgroup import __version__
from taskgroup.errors import TaskgroupError


class OneLineErrors(TyperGroup):
    """Reports a user's mistake in one line and exits with 2; anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:  # typer carries its own click and exports no context type
        """Run the command; turn an error of ours into one line and exit status 2."""
        _print_what_the_terminal_lacks_as_question_marks()
        try:
            return super().invoke(ctx)
        except TaskgroupError as error:
            typer.echo(f"taskgroup: {error}", err=True)
            raise typer.Exit(2) from None


def _print_what_the_terminal_lacks_as_question_marks() -> None:
    """An ε that an ASCII terminal cannot show must not cost the numbers beside it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def group(text: str) -> typer.Typer:
    """A group of commands that prints its help when called without a command."""
    return typer.Typer(cls=OneLineErrors, no_args_is_help=True, help=text, add_completion=False)


app = group("Find auxiliary tasks, loss weights and attack budgets that make a main task robust.")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"taskgroup {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find auxiliary tasks, loss weights and attack budgets that make a main task robust."""
