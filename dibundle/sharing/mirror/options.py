"""Options of a mirror, and the registries that it serves."""

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
"""The host with the images of docker.io."""
_HUB_NAMES: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")
_PART: Final = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


class Listen(NamedTuple):
    """The address on which a mirror listens."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """The host and the port, as written in URLs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)


HERE: Final = Listen("127.0.0.1", 5055)


Prefer = Literal["speed", "bytes"]
"""With "speed", a delta is used only if it is faster than fetching the layers.

With "bytes", it is used only if it is smaller.
"""


Key = tuple[str, bytes]
"""The key of a blob in the mirror, which consists of the blob's space and digest."""


class UpstreamPlace(NamedTuple):
    """A repository of an upstream registry, with the credentials of a client.

    ``space`` is the part of the cache that only this registry uses. Content that the mirror fetches with its own logins
    is in a separate space. ``prefix`` is the part of the mirror's paths before the repository's name.
    """

    host: str
    repository: str
    space: str
    prefix: str = ""
    authorization: str | None = None

    def key(self, digest: bytes) -> Key:
        """Return the key of a blob of this registry."""
        return self.space, digest

    @property
    def name(self) -> str:
        """The name of the repository, as shown to users."""
        return f"{'docker.io' if self.host == HUB else self.host}/{self.repository}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """Options of a mirror.

    - ``upstreams``: the hosts, by their names in this mirror
    - ``cache_size``: bytes
    - ``make_timeout``: maximum seconds for rebuilding a layer; after this time, the layer is fetched
    - ``is_private``: the mirror uses its own credentials; every client of the mirror can read all content that these
      credentials give access to
    - ``stores``: folders whose blobs are named by digest, as in containerd; each folder belongs to a host, and only
      images of this host may use the folder's blobs as a base
    - ``certificate``: files of a TLS certificate and its key
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
        """Return the repository of a path. Return None if the path is not valid.

        The upstream is the host ``ns`` or, without ``ns``, the name in the first part of the path.
        """
        if ns is not None:
            prefix, repository, host = "", path, canonical_host(ns)
        else:
            name, _, repository = path.partition("/")
            prefix, host = f"{name}/", self.upstreams.get(name, "")
        if host not in self.upstreams.values() or not NAME.fullmatch(repository):
            return None
        if self.is_private:  # the mirror uses its own logins only
            return UpstreamPlace(host, repository, f"private@{host}", prefix)
        return UpstreamPlace(host, repository, host, prefix, authorization)


def canonical_host(text: str) -> str:
    """Return the host for a registry's name."""
    return HUB if text.lower() in _HUB_NAMES else text.lower().removesuffix(":443")


def parse_upstreams(given: Iterable[str]) -> dict[str, str]:
    """Parse upstreams, each ``[NAME=]HOST[:PORT]``, and return the hosts by name."""
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
    """Parse stores (``[NAME=]DIR``). Return (host, folder) pairs. Images of the host may use the folder as a base.

    With several upstreams, NAME is required. Otherwise, clients of one upstream could read another upstream's content
    from the store.
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
    """Parse ``HOST:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(messages.MIRROR_LISTEN, found=text)
    return Listen(host.strip("[]"), int(port))
