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
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


HERE: Final = Listen("127.0.0.1", 5055)


Prefer = Literal["speed", "bytes"]
"""What counts where a delta is fewer bytes than the layers: when they are here, or the bytes alone."""


class UpstreamPlace(NamedTuple):
    """A repository of an upstream registry, as a client sees it with its credentials.

    ``prefix`` is what stands before its name in the mirror's paths.
    """

    host: str
    repository: str
    prefix: str = ""
    authorization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOptions:
    """How to mirror: ``upstreams`` are hosts by the names that they have here.

    ``cache_size`` in bytes. ``make_timeout``: seconds that a layer may take to be made before it is fetched instead.
    ``is_private``: whoever reaches the mirror may read what its own credentials open. ``stores``: folders of blobs by
    digest that may serve as bases, as containerd has them. ``certificate``: files of a TLS certificate and its key.
    """

    upstreams: Mapping[str, str]
    cache: Path
    cache_size: int
    listen: Listen = HERE
    make_timeout: float = 60.0
    prefer: Prefer = "speed"
    is_private: bool = False
    stores: tuple[Path, ...] = ()
    certificate: tuple[str, str] | None = None

    def place(self, path: str, ns: str | None, authorization: str | None) -> UpstreamPlace | None:
        """Return the repository that a path means, with the upstream as ``ns`` or in its first part; None for none."""
        if ns is not None:
            host = canonical_host(ns)
            return (
                UpstreamPlace(host, path, "", authorization)
                if host in self.upstreams.values() and NAME.fullmatch(path)
                else None
            )
        prefix, _, repository = path.partition("/")
        found = self.upstreams.get(prefix)
        if found is None or not NAME.fullmatch(repository):
            return None
        return UpstreamPlace(found, repository, f"{prefix}/", authorization)


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


def parse_listen(text: str) -> Listen:
    """Return what ``HOST:PORT`` says."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(messages.MIRROR_LISTEN, found=text)
    return Listen(host.strip("[]"), int(port))
