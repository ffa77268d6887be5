"""One search at a time in a run directory that lies in an object store.

Every search writes an object of its own, then lists all: whoever sees another one gives way. Object
stores list what was written before, so of two searches at least the later one sees the earlier; no
conditional write is needed, which pyarrow does not offer. Ages are differences between the store's
own time stamps, so that no machine's clock matters.
"""

import json
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from taskgroup.errors import ConfigError, DataError, ResourceError
from taskgroup.results.storage.base import Storage

FOLDER = "search.lease"
HEARTBEAT_SECONDS = 20.0
EXPIRY_SECONDS = 120.0
"""A lease that was not renewed for so long belongs to nobody."""
_TRIES = 3


@dataclass(frozen=True)
class Owner:
    """Who holds a lease.

    Attributes:
        host: Name of the machine.
        machine: This boot of the machine and its process numbers: where a number means a process.
        process: Process number.
        begun: When the process began, in the machine's own count, since numbers are used again.
    """

    host: str
    machine: str
    process: int
    begun: str

    @classmethod
    def this_process(cls) -> "Owner":
        """This very process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _begun(os.getpid()))

    @property
    def is_dead(self) -> bool:
        """Whether the process is known to have ended; unknown for another machine."""
        own = (socket.gethostname(), _machine())
        return (self.host, self.machine) == own and _begun(self.process) != self.begun


@contextmanager
def hold_lease(storage: Storage) -> Iterator[None]:
    """Hold the lease of a remote run directory, and renew it until the block ends.

    A lease whose process is dead on this machine, or that was not renewed for ``EXPIRY_SECONDS``,
    is taken over. A process that finds its own lease taken, because it slept for so long, is
    interrupted as by Ctrl-C.

    Raises:
        ConfigError: Another search holds it, or has taken it over.
        ResourceError: The storage cannot be written.
    """
    name = _acquire(storage)
    stop, lost = threading.Event(), threading.Event()
    beat = threading.Thread(target=_renew, args=(storage, name, stop, lost), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        with suppress(ResourceError):
            storage.delete(name)
        if lost.is_set():
            raise ConfigError(
                f"{storage.uri} can be used by only one search at a time, and another took it over "
                "while this one was suspended; let that one finish"
            )


def _acquire(storage: Storage) -> str:
    """Write our lease; ConfigError if another one is valid."""
    name = f"{FOLDER}/{secrets.token_hex(8)}.json"
    refusal = ""
    for _ in range(_TRIES):
        storage.write(name, json.dumps(asdict(Owner.this_process())).encode())
        other = _other(storage, name)
        if other is None:
            return name
        storage.delete(name)
        owner, age = other
        refusal = _refusal(storage, owner, age)
        if age > HEARTBEAT_SECONDS / 4:
            break
        time.sleep(random.uniform(0.1, 0.5))  # two that begin at once both give way
    raise ConfigError(refusal)


def _other(storage: Storage, own: str) -> tuple[Owner, float] | None:
    """Another valid lease and its age in seconds; what is no longer valid is removed."""
    found = {f"{FOLDER}/{info.base_name}": info.mtime_ns / 1e9 for info in storage.listed(FOLDER)}
    now = found.pop(own, None)
    for name, written in sorted(found.items()):
        age = max(0.0, (now or time.time()) - written)
        owner = _owner(storage, name)
        if owner is None or owner.is_dead or age > EXPIRY_SECONDS:
            storage.delete(name)
            continue
        return owner, age
    return None


def _owner(storage: Storage, name: str) -> Owner | None:
    """Who wrote a lease; None if it vanished or is none of ours."""
    try:
        content = json.loads(storage.read(name))
        return Owner(**content) if isinstance(content, Mapping) else None
    except (DataError, ValueError, TypeError):
        return None


def _renew(storage: Storage, name: str, stop: threading.Event, lost: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if not storage.exists(name):
                lost.set()
                os.kill(os.getpid(), signal.SIGINT)
                return
            storage.write(name, json.dumps(asdict(Owner.this_process())).encode())
        except (DataError, ResourceError):
            continue  # the network comes back, or the lease is found taken


def _refusal(storage: Storage, owner: Owner, age: float) -> str:
    return (
        f"{storage.uri} can be used by only one search at a time, and process {owner.process} on "
        f"{owner.host} is using it (last heartbeat {age:.0f} s ago); wait until that one ends (a "
        f"dead one counts as ended {EXPIRY_SECONDS:.0f} s after its last heartbeat), or choose "
        "another run directory"
    )


def _machine() -> str:
    """This boot and this space of process numbers; a container has its own."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _begun(process: int) -> str:
    """Start of a process in clock ticks since boot; empty if there is none."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if stat[0] == "Z" else stat[19]
    return ""
