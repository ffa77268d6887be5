"""The command line: options, one call, text to stdout, problems to stderr.

There is no logic here, and heavy imports are inside the commands, so that help answers at once. The
commands are listed in the help in the order of the imports.
"""

from taskgroup.cli.app import app

from taskgroup.cli import search  # isort: skip
from taskgroup.cli import evaluate  # isort: skip
from taskgroup.cli import dimension  # isort: skip
from taskgroup.cli import data, runs, spaces, table

__all__ = ["app", "data", "dimension", "evaluate", "runs", "search", "spaces", "table"]
