"""What a trial or a shard takes along from the driver to whatever machine it runs on."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

SETTINGS = (
    "TASKGROUP_DATA",
    "TASKGROUP_CACHE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)
"""Environment variables that travel, each unless the node has set it itself."""
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Travel together or not at all, since half of one identity and half of another is none. They go
as arguments and not in Ray's ``runtime_env``, which the dashboard shows."""


@dataclass(frozen=True, repr=False)
class Surroundings:
    """The driver's surroundings.

    Attributes:
        folder: Working directory, from which relative paths start where it exists.
        environment: Environment variables that matter.
        carried: What else is to be done on arrival, such as taking data sets out of Ray's object
            store; travels by Ray's pickle.
    """

    folder: str
    environment: Mapping[str, str]
    carried: tuple[Callable[[], None], ...] = ()

    @classmethod
    def here(cls) -> Self:
        """The surroundings of this process."""
        names = (name for name in SETTINGS + KEYS if os.environ.get(name))
        return cls(str(Path.cwd()), {name: os.environ[name] for name in names})

    def enter(self) -> None:
        """Make this process's surroundings the same; what the node set itself stays."""
        has_keys = any(os.environ.get(name) for name in KEYS)
        for name, value in self.environment.items():
            if not (has_keys and name in KEYS):
                os.environ.setdefault(name, value)
        with suppress(OSError):  # another machine need not have the folder
            os.chdir(self.folder)
        for arrive in self.carried:
            arrive()
