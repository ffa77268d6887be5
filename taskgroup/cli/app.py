"""The root of the command line, and the rule that a user's mistake is reported in one line."""

import inspect
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskgroup import __version__
from taskgroup.cli.streams import make_streams_last
from taskgroup.errors import TaskgroupError
from taskgroup.paths import is_text, shown_path
from taskgroup.termination import exit_status, handle_sigterm

# typer carries its own click and exports neither this class nor that of a context
_UsageError: Any = typer.BadParameter.__base__


class OneLineErrors(TyperGroup):
    """Reports a user's mistake in one line and exits with 2; anything else keeps its traceback."""

    def __init__(self, **settings: Any) -> None:
        """A group whose commands' help is broken into lines by the terminal alone."""
        super().__init__(**settings)
        for command in self.commands.values():
            command.help = _flowing(command.help or "")

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the program; nothing is printed before the streams can take it."""
        make_streams_last()
        return super().main(*args, **settings)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options; print its help where it is called without a command."""
        if not args:
            _ = ctx.get_help()  # typer prints it
            raise typer.Exit(2)
        foreign = next((arg for arg in args if not is_text(arg)), None)
        if foreign is not None:
            raise _reported(
                f"arguments must be UTF-8, got {shown_path(foreign)}; rename what has that name"
            )
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            raise _reported(_usage_line(error)) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn a mistake into one line and exit status 2."""
        handle_sigterm()
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            hint = str(error) or "the same command continues with what is finished"
            typer.echo(f"taskgroup: interrupted; {hint}", err=True)
            raise typer.Exit(exit_status()) from None
        except TaskgroupError as error:
            raise _reported(str(error)) from None
        except _UsageError as error:
            raise _reported(_usage_line(error)) from None


def _reported(line: str) -> typer.Exit:
    """What ends the program, after saying why."""
    typer.echo(f"taskgroup: {line}", err=True)
    return typer.Exit(2)


def _usage_line(error: Any) -> str:
    """One line for a wrong option, argument or command name."""
    message = " ".join(error.format_message().split()).rstrip(".")
    text = message[:1].lower() + message[1:]
    if error.__cause__ is not None:
        from taskgroup.config import describe_option  # pydantic comes with it

        text = describe_option(error.__cause__, error.param.opts[0])
    if error.ctx is None:
        return text
    return f"{text}{'' if text.endswith('?') else ';'} see: {error.ctx.command_path} --help"


def _flowing(text: str) -> str:
    """Text whose paragraphs are one line each."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


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
