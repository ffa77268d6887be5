"""``python -m taskgroup`` is the command line."""

from taskgroup.cli import app

if __name__ == "__main__":
    app()
