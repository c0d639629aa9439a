"""Places to which a registry may redirect or link.

An address of this machine or its network link is allowed only if the registry itself has such an address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urljoin, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_THIS: Final = ipaddress.ip_network("0.0.0.0/8")  # a connection to such an address reaches this machine
_METADATA: Final = frozenset(  # metadata services of clouds, if their address is not link-local
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
_PLAIN: Final = re.compile(r"https?://[^\x00-\x20\x7f\\\\@/?#]+(?:[/?#][^\x00-\x20\x7f\\\\]*)?", re.IGNORECASE)
_LONGEST_LINK: Final = 4096
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]+")


def kind(text: str) -> str | None:
    """Return the kind of a restricted address, which only registries with such an address may name.

    Return None for any other address.
    """
    address = _embedded(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback or address.is_unspecified or (address.version == 4 and address in _THIS):
        return "loopback"
    if address.is_link_local or address in _METADATA:
        return "link-local"
    return "multicast" if address.is_multicast else None


def _embedded(address: Address) -> Address:
    """Return the IPv4 address embedded in an IPv6 address, if there is one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if int(address) >> 32 == 0 and int(address) > 1:  # IPv4-compatible addresses, which are obsolete
        return ipaddress.IPv4Address(int(address))
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def kinds(host: str) -> set[str]:
    """Return the kinds of a host's addresses, for any name that the system resolves.

    Raise OSError if the name does not resolve.
    """
    found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    return {name for item in found if (name := kind(str(item[4][0])))}


def follow(url: str, location: str) -> str | None:
    """Return the target of a registry's redirect from ``url``.

    Return None if the redirect is forbidden, for example from https to http. Ambiguous URLs are not followed. A URL is
    ambiguous if it has a user name, a backslash, a space or a control character.
    """
    if not location or not _is_plain(location):
        return None
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if not _PLAIN.fullmatch(target) or not _HOST.fullmatch(parts.hostname or "") or parts.port == 0:
            return None
    except ValueError:  # malformed brackets or a malformed port
        return None
    if parts.scheme.lower() == "http" and urlsplit(url).scheme.lower() != "http":
        return None
    return target


def _is_plain(text: Iterable[str]) -> bool:
    return all(" " < character < "\x7f" and character != "\\" for character in text)


def next_page(link: str) -> tuple[str | None, bool]:
    """Return the URL of a list's next page from a ``Link`` header. After the last page, return None.

    The second value is false if the header is too long to be read.
    """
    if len(link) > _LONGEST_LINK:
        return None, False
    found = re.search(r'<([^<>]*)> *; *rel="?next', link)
    return (found[1] if found else None), True
