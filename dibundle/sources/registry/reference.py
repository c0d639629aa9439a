"""Names in registries: ``docker://HOST[:PORT]/NAME[:TAG][@sha256:DIGEST]``."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final, NamedTuple

from dibundle.errors import UsageError
from dibundle.sources import messages
from dibundle.sources.names import SCHEME

NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
# with other characters, a URL could lead to another place
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


_LONGEST: Final = 255  # maximum characters of host and repository together, as in engines


def image_name(text: str) -> str:
    """Return an image name for engines (``[HOST/]NAME[:TAG]``); without a tag, add ``latest``.

    For other text, raise :class:`UsageError`.
    """
    first, slash, rest = text.partition("/")
    # engines use the same rule to recognise a host in the first part of a name
    has_host = bool(slash) and (any(c in first for c in ".:") or first == "localhost" or first != first.lower())
    name, colon, tag = (rest if has_host else text).partition(":")
    if (
        (has_host and not _HOST.fullmatch(first))
        or not NAME.fullmatch(name)
        or (colon and not TAG.fullmatch(tag))
        or len(text) - len(colon + tag) > _LONGEST
        or re.fullmatch("[0-9a-f]{64}", name)
    ):
        raise UsageError(messages.IMAGE_NAME, found=text)
    return text if colon else f"{text}:latest"


class Reference(NamedTuple):
    """A name in a registry. If it has neither tag nor digest, but a tag is needed, the tag is ``latest``."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the parsed name. Raise :class:`UsageError` if the name is malformed, or has no host."""
        rest = text.removeprefix(SCHEME)
        rest, at, digest = rest.partition("@")
        host, slash, path = rest.partition("/")
        name, colon, tag = path.partition(":")
        named = bool(slash) and ("." in host or ":" in host or host == "localhost") and _HOST.fullmatch(host)
        if not named:
            raise UsageError(messages.REGISTRY_NO_HOST, found=text)
        if (at and not _DIGEST.fullmatch(digest)) or (colon and not TAG.fullmatch(tag)) or not NAME.fullmatch(name):
            raise UsageError(messages.REGISTRY_NOT_A_NAME_2, found=text, scheme=SCHEME, host=host)
        return cls(host, name, tag or None, digest or None)

    @property
    def wanted(self) -> str:
        """The digest to request from the registry, or the tag if there is no digest."""
        return self.digest or self.tag or "latest"

    @property
    def name(self) -> str | None:
        """The name that engines show, or None if there is no tag."""
        return f"{self.host}/{self.repository}:{self.tag or 'latest'}" if self.tag or not self.digest else None

    @property
    def place(self) -> str:
        """The name of the repository: ``docker://HOST/NAME``."""
        return f"{SCHEME}{self.host}/{self.repository}"

    def with_tag(self, tag: str) -> Reference:
        """Return a reference with another tag in the same repository."""
        return Reference(self.host, self.repository, tag)

    def with_digest(self, digest: str) -> Reference:
        """Return a reference with a digest in the same repository."""
        return Reference(self.host, self.repository, None, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.place}{tag}" + (f"@{self.digest}" if self.digest else "")


def is_loopback(host: str) -> bool:
    """Return whether the name of a host (with or without port) means this machine."""
    name = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
    if name == "localhost":
        return True
    import ipaddress  # imported here, because loading ipaddress takes longer than loading the rest of this module

    for address in (host, name):  # try both forms, because the "1" in "::1" is not a port
        with suppress(ValueError):
            return ipaddress.ip_address(address.strip("[]")).is_loopback
    return False
