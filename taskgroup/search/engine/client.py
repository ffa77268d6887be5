"""A search from outside a cluster, through Ray Client.

Ray Tune does not run in a client, so its loop runs on the head node. The truth stays here: the
study, the run directory's lock and the progress table. The loop asks for trials, and tells how they
go, through a mailbox.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import ray
import ray.util.client
from ray.exceptions import RayTaskError

from taskgroup.cluster.surroundings import Surroundings
from taskgroup.errors import DataError, ResourceError, TaskgroupError
from taskgroup.results.records import TrialResult
from taskgroup.results.run_directory import RunDirectory
from taskgroup.search.engine.recording import Train
from taskgroup.search.plan.planning import from_text, to_text
from taskgroup.search.plan.sources import TrialSource
from taskgroup.search.space.search_space import SearchSpace

ON_HEAD = {"node:__internal_head__": 0.001}
"""Holds what needs no core on the one node that lives as long as the cluster."""


class RunStudy(Protocol):
    """Runs the trials of a source; ``taskgroup.search.engine.tune.run_study``."""

    def __call__(
        self,
        space: SearchSpace,
        run: RunDirectory,
        source: TrialSource,
        *,
        remaining: int,
        train: Train,
        on_change: Callable[[TrialResult], None],
    ) -> None:
        """Run them."""


class Message(NamedTuple):
    """What the loop wants: a trial, what to keep of one, or just to be heard."""

    kind: Literal["ask", "tell", "change"]
    record: str = ""


def is_client() -> bool:
    """Whether this process is outside the cluster that it is connected to."""
    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]


def run_on_head(
    run_study: RunStudy,
    space: SearchSpace,
    folder: str,
    source: TrialSource,
    *,
    remaining: int,
    train: Train,
    on_change: Callable[[TrialResult], None],
) -> None:
    """Run a source's trials by a loop on the head node.

    Args:
        run_study: Runs them there.
        space: What is searched.
        folder: The run directory, as every node sees it.
        source: Where trials come from; stays here.
        remaining: Trials to run.
        train: Trains one trial.
        on_change: Hears of every trial that is planned, measured or ended.

    Raises:
        ResourceError: A node cannot run trials, or a record could not be written.
    """
    mailbox: Any = ray.remote(num_cpus=0, resources=ON_HEAD)(_Mailbox).remote()
    loop: Any = ray.remote(num_cpus=0, max_retries=0, resources=ON_HEAD)(_loop)
    ended = loop.remote(run_study, space, folder, mailbox, remaining, train, Surroundings.here())
    reply: str | None = None
    while True:
        message = mailbox.exchange.remote(reply)
        ready, _ = ray.wait([ended, message], num_returns=1)
        if ended in ready:
            break
        reply = _reply(ray.get(message), source, on_change)
    try:
        ray.get(ended)
    except RayTaskError as error:
        if isinstance(error.cause, TaskgroupError):
            raise error.cause from None
        raise


def _reply(message: Message, source: TrialSource, on_change: Callable[[TrialResult], None]) -> str:
    if message.kind == "ask":
        record = source.ask()
        return "" if record is None else to_text(record)
    if message.kind == "tell":
        return to_text(source.tell(from_text(message.record)))
    on_change(from_text(message.record))
    return ""


class _Mailbox:
    """An actor between the loop and the client: one message at a time, each with its reply."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._replies: asyncio.Queue[str] = asyncio.Queue()

    async def send(self, message: Message) -> str:
        """The loop's side: hand over a message and wait for the reply."""
        await self._messages.put(message)
        return await self._replies.get()

    async def exchange(self, reply: str | None) -> Message:
        """The client's side: answer the message before, and wait for the next."""
        if reply is not None:
            await self._replies.put(reply)
        return await self._messages.get()


class _RemoteSource:
    """The client's source, as the loop sees it."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def _send(self, message: Message) -> str:
        return str(ray.get(self._mailbox.send.remote(message)))

    def ask(self) -> TrialResult | None:
        """The next trial to run; None when there is no more."""
        text = self._send(Message("ask"))
        return from_text(text) if text else None

    def tell(self, record: TrialResult) -> TrialResult:
        """Hear how a trial ended."""
        return from_text(self._send(Message("tell", to_text(record))))

    def change(self, record: TrialResult) -> None:
        """Hear of a trial that is planned, measured or ended."""
        self._send(Message("change", to_text(record)))


def _loop(
    run_study: RunStudy,
    space: SearchSpace,
    folder: str,
    mailbox: Any,
    remaining: int,
    train: Train,
    surroundings: Surroundings,
) -> None:
    """Run on the head node what elsewhere runs in the driver."""
    surroundings.enter()
    try:
        run = RunDirectory.open(folder)
    except DataError as error:
        raise ResourceError(
            f"the cluster must see the run directory, but its head node does not: {error}; "
            "give --run a path that the cluster shares with this machine, or s3://"
        ) from None
    source = _RemoteSource(mailbox)
    run_study(space, run, source, remaining=remaining, train=train, on_change=source.change)
