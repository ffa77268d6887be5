"""The errors that a user can cause; the command line prints them as one line and exits 2.

A message has three parts: what must hold, what was found, what to do next. Anything outside this
family is our own mistake and keeps its traceback.
"""


class TaskgroupError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(TaskgroupError):
    """A search space, an option or a name is not what it must be."""


class DataError(TaskgroupError):
    """A data set, a checkpoint or a run directory is missing, foreign or damaged."""


class CheckpointError(DataError):
    """A trial cannot be resumed from a checkpoint: it is damaged, or another trial's."""


class ResourceError(TaskgroupError):
    """The machine or the cluster lacks what was asked for: CPUs, memory, disk."""


class StorageError(ResourceError):
    """A file cannot be written where it belongs: no space, no right, or the folder is gone.

    No fault of the trial that meets it, which is interrupted and can be resumed.
    """


class DivergedError(TaskgroupError):
    """A training lost all meaning: a loss or a parameter became NaN or infinite."""
