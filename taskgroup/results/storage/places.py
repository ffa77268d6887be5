"""Addresses of storage: local paths, and what pyarrow reaches by ``s3://``, ``gs://`` and the like.

Everything that a user can get wrong about an address is said here, in one line and within seconds:
connections time out early and are tried a few times only, since records are written again and again
by a search that goes on, while a wrong address never gets better.
"""

import errno
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pyarrow import ArrowException, fs

from taskgroup.errors import ConfigError

Place = str | Path
"""A local path, or an address such as ``s3://bucket/run``."""
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0
ATTEMPTS = 5
"""How often one request is tried, with growing pauses, before its failure is believed."""
GCS_SECONDS = 15
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where no space is left: on the disk, or for this user."""
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_S3_OPTIONS = ("region", "scheme", "endpoint_override")
_PROBLEMS: Mapping[str, str] = {
    "ACCESS_DENIED": "access is denied; give credentials that may read and write there "
    "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)",
    "INVALID_ACCESS_KEY_ID": "the access key is unknown there; check AWS_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY",
    "EXPIRED": "the credentials have expired; renew them",
    "NO_SUCH_BUCKET": "there is no such bucket; create it, or check its name and region",
    "NETWORK_CONNECTION": "nothing answers there; check the network, and the endpoint in the "
    "address or AWS_ENDPOINT_URL",
    "OAuth2 access token": "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS, or run: "
    "gcloud auth application-default login",
    "PERMISSION_DENIED": "access is denied; give credentials that may read and write there",
    "UNAVAILABLE": "nothing answers there; check the network",
}


def is_address(place: Place) -> bool:
    """Whether a place is an address rather than a local path; ``file://`` counts as one."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(place)) is not None


def local_path(place: Place) -> Path | None:
    """The local path that a place means, or None if it lies elsewhere."""
    if not is_address(place):
        return Path(place)
    parts = urlsplit(str(place))
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def within(place: Place, name: str) -> str:
    """The place of ``name`` below ``place``.

    Example:
        >>> within("s3://bucket/runs?region=eu-west-1", "quick-1")
        's3://bucket/runs/quick-1?region=eu-west-1'
        >>> within("runs", "quick-1")
        'runs/quick-1'
    """
    if not is_address(place):
        return str(Path(place) / name)
    parts = urlsplit(str(place))
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def parent_of(place: str) -> tuple[str, str]:
    """An address without its last name, and that name."""
    parts = urlsplit(place)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return urlunsplit(parts._replace(path=folder)), name


def connect(address: str) -> tuple[fs.FileSystem, str]:
    """The filesystem of an address and the path on it; nothing is sent yet.

    Raises:
        ConfigError: No filesystem has such an address, or it holds a secret.
    """
    parts = urlsplit(address)
    if not parts.netloc and parts.scheme in ("s3", "gs", "gcs"):
        raise ConfigError(
            f"an address must name a bucket, got {address}; write it as {parts.scheme}://bucket/run"
        )
    if "@" in parts.netloc and parts.scheme in ("s3", "gs", "gcs"):
        raise ConfigError(
            "an address must hold no credentials, since it is printed and written into the "
            "report; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead"
        )
    root = unquote(f"{parts.netloc}{parts.path}").rstrip("/")
    if parts.scheme == "s3":
        return _s3(tuple(sorted(_s3_options(address).items()))), root
    return _other(address)


def _s3_options(address: str) -> dict[str, str]:
    """Options of the address, completed from the environment as the AWS tools do."""
    options = dict(parse_qsl(urlsplit(address).query))
    for key in options:
        if key not in _S3_OPTIONS:
            known = ", ".join(_S3_OPTIONS)
            raise ConfigError(f"{address}: unknown option {key!r}; an s3 address takes {known}")
    endpoint = options.get("endpoint_override") or os.environ.get(
        "AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL", "")
    )
    if "://" in endpoint:
        scheme, _, endpoint = endpoint.partition("://")
        options.setdefault("scheme", scheme)
    if endpoint:
        options["endpoint_override"] = endpoint.rstrip("/")
    region = os.environ.get("AWS_REGION", os.environ.get("AWS_DEFAULT_REGION"))
    if region or endpoint:
        options.setdefault("region", region or "us-east-1")
    return options


@lru_cache(maxsize=16)
def _s3(options: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    """One client per process and endpoint: it holds the connections."""
    given: dict[str, Any] = dict(options)
    return fs.S3FileSystem(
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        allow_delayed_open=True,  # a small file is one PUT instead of a multipart upload
        **given,
    )


def _other(address: str) -> tuple[fs.FileSystem, str]:
    parts = urlsplit(address)
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
        query = f"{parts.query}&" if parts.query else ""
        parts = parts._replace(query=f"{query}retry_limit_seconds={GCS_SECONDS}")
    try:
        filesystem, root = fs.FileSystem.from_uri(urlunsplit(parts))
    except (ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"a run directory must be a local path or an address that pyarrow knows, such as "
            f"s3://bucket/run or gs://bucket/run, got {address} ({first[:120]})"
        ) from None
    return filesystem, root.rstrip("/")


def reason(error: OSError) -> str:
    """One line that says why a file could not be reached, and what to do where that is known."""
    text = " ".join(str(error).split())
    for sign, meaning in _PROBLEMS.items():
        if sign in text:
            return meaning
    if error.errno is not None and 0 < error.errno < 200:
        return os.strerror(error.errno).lower()
    return text[:300]


def why_unwritable(error: OSError) -> str:
    """One line that says why a file could not be written, and what to do."""
    why = reason(error)
    if ";" in why:
        return why
    if error.errno in FULL:
        return f"{why}; free space there"
    if error.errno in FORBIDDEN:
        return f"{why}; change its permissions, or choose another place"
    return f"{why}; free space, change its permissions, or choose another place"
