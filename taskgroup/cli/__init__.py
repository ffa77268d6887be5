"""The command line: options, one call, text to stdout, problems to stderr.

No logic lives here, and heavy imports stand inside the commands, so that help answers at once. The
order of the imports is the order of the commands in the help.
"""

from taskgroup.cli.app import app

from taskgroup.cli import search  # isort: skip
from taskgroup.cli import evaluate  # isort: skip
from taskgroup.cli import dimension  # isort: skip
from taskgroup.cli import data, runs, spaces, table

__all__ = ["app", "data", "dimension", "evaluate", "runs", "search", "spaces", "table"]
