"""Launch the command line from a checkout: ``python cli.py`` is ``taskgroup``."""

from taskgroup.cli import app

if __name__ == "__main__":
    app()
