"""Stdout and stderr that end no command: whatever the terminal lacks, and whoever stops reading.

An ASCII or cp1252 terminal gets a minus for a minus and a question mark for what it cannot hold at
all. When the reader of a pipe goes, as ``head`` does, what follows is dropped and the work goes on
to its end: its records are what counts.
"""

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from taskgroup.errors import ResourceError

PLAIN_LETTERS = "taskgroup.plain_letters"
"""Name of the error handler of our streams."""
_PLAIN = {
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{GREEK SMALL LETTER EPSILON}": "eps",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MIDDLE DOT}": "|",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{DEGREE SIGN}": " degrees",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{SQUARE ROOT}": "sqrt ",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
"""What stands for a sign that a stream cannot hold and that a number would mean another thing
without."""


class LastingStream(io.TextIOWrapper):
    """A stream of this process that drops what nobody reads any more."""

    def write(self, text: str) -> int:
        """Write as far as somebody reads.

        Raises:
            ResourceError: What is behind the stream takes no more, such as a full disk.
        """
        with self._dropping():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written, as far as somebody reads.

        Raises:
            ResourceError: As for ``write``.
        """
        with self._dropping():
            super().flush()

    @contextmanager
    def _dropping(self) -> Iterator[None]:
        """Let all that follows go nowhere once the stream has failed."""
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError) and self.name == "<stdout>":
                problem = (error.strerror or str(error)).lower()
                raise ResourceError(
                    f"stdout must take what is printed, but: {problem}; free space, or print it "
                    "elsewhere"
                ) from None


def make_streams_last() -> None:
    """Let this process's stdout and stderr hold any text and outlive whoever reads them."""
    codecs.register_error(PLAIN_LETTERS, _in_plain_letters)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:
            setattr(sys, name, _lasting(stream))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN_LETTERS)


def _lasting(stream: io.TextIOWrapper) -> LastingStream:
    return LastingStream(
        stream.buffer,
        encoding=stream.encoding,
        errors=PLAIN_LETTERS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What to write instead of letters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, "?") for letter in lacking), error.end
