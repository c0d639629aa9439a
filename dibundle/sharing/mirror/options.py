"""How a mirror works, and which registries it speaks to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from dibundle.errors import UsageError
from dibundle.sharing.mirror import messages
from dibundle.sources.registry.reference import NAME, is_loopback

HUB: Final = "registry-1.docker.io"
"""Where the images of docker.io are."""
_HUB_NAMES: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")
_PART: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class Listen(NamedTuple):
    """Where a mirror listens."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """Host and port, as URLs have them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


HERE: Final = Listen("127.0.0.1", 5055)


Prefer = Literal["speed", "bytes"]
"""What counts where a delta is fewer bytes than the layers: when they are here, or the bytes alone."""


Key = tuple[str, bytes]
"""A blob as the mirror knows it: the space that it is in, and its digest."""


class UpstreamPlace(NamedTuple):
    """A repository of an upstream registry, as a client sees it with its credentials.

    ``space``: what the mirror has of one registry is nobody else's, and what it has fetched with its own logins is
    nothing that clients brought theirs for. ``prefix`` is what stands before its name in the mirror's paths.
    """

    host: str
    repository: str
    space: str
    prefix: str = ""
    authorization: str | None = None

    def key(self, digest: bytes) -> Key:
        """Return how the mirror knows a blob of this registry."""
        return self.space, digest

    @property
    def name(self) -> str:
        """The name that users give the repository."""
        return f"{'docker.io' if self.host == HUB else self.host}/{self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """How to mirror: ``upstreams`` are hosts by the names that they have here.

    ``cache_size`` in bytes. ``make_timeout``: seconds that a layer may take to be made before it is fetched instead.
    ``is_private``: whoever reaches the mirror may read what its own credentials open. ``stores``: folders of blobs by
    digest, as containerd has them, each with the host whose images may build on it. ``certificate``: files of a TLS
    certificate and its key.
    """

    upstreams: Mapping[str, str]
    cache: Path
    cache_size: int
    listen: Listen = HERE
    make_timeout: float = 60.0
    prefer: Prefer = "speed"
    is_private: bool = False
    stores: tuple[tuple[str, Path], ...] = ()
    certificate: tuple[str, str] | None = None

    def place(self, path: str, ns: str | None, authorization: str | None) -> UpstreamPlace | None:
        """Return the repository that a path means, with the upstream as ``ns`` or in its first part; None for none."""
        if ns is not None:
            prefix, repository, host = "", path, canonical_host(ns)
        else:
            name, _, repository = path.partition("/")
            prefix, host = f"{name}/", self.upstreams.get(name, "")
        if host not in self.upstreams.values() or not NAME.fullmatch(repository):
            return None
        space = f"private@{host}" if self.is_private else host
        return UpstreamPlace(host, repository, space, prefix, authorization)


def canonical_host(text: str) -> str:
    """Return the host that a registry's name stands for."""
    return HUB if text.lower() in _HUB_NAMES else text.lower().removesuffix(":443")


def parse_upstreams(given: Iterable[str]) -> dict[str, str]:
    """Return the upstreams that ``[NAME=]HOST[:PORT]`` name, by their names."""
    found: dict[str, str] = {}
    for text in given:
        name, is_named, host = text.rpartition("=")
        name = name if is_named else host
        if not _HOST.fullmatch(host):
            raise UsageError(messages.MIRROR_UPSTREAM, found=text)
        if not _PART.fullmatch(name):
            raise UsageError(messages.MIRROR_UPSTREAM_NAME, found=name, host=host)
        if name in found:
            raise UsageError(messages.MIRROR_UPSTREAM_TWICE, name=name)
        found[name] = canonical_host(host)
    if not found:
        raise UsageError(messages.MIRROR_NO_UPSTREAM)
    return found


def parse_stores(given: Iterable[str], upstreams: Mapping[str, str]) -> tuple[tuple[str, Path], ...]:
    """Return the folders that ``[NAME=]DIR`` name, each with the host whose images may build on it.

    An upstream could have a client get what is there, so one of several has to be named.
    """
    found = []
    for text in given:
        name, is_named, folder = text.partition("=")
        if is_named and name in upstreams:
            found.append((upstreams[name], Path(folder)))
        elif len(upstreams) == 1:
            found.extend((host, Path(text)) for host in upstreams.values())
        else:
            raise UsageError(messages.MIRROR_STORE, store=text, name=min(upstreams))
    return tuple(found)


def parse_listen(text: str) -> Listen:
    """Return what ``HOST:PORT`` says."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(messages.MIRROR_LISTEN, found=text)
    return Listen(host.strip("[]"), int(port))
