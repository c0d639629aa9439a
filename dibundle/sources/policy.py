"""The policy of this machine. No command line or environment can change what the policy requires.

The policy is in the file ``/etc/dib/policy.toml``, which root owns. No option, variable or home folder changes this
path.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.errors import FileError, UsageError, shell_words
from dibundle.sources import messages

if TYPE_CHECKING:
    from dibundle.format.signing import Signers

PATH = "/etc/dib/policy.toml"
_MAX_SIZE: Final = 1 << 20
_MAX_LINKS: Final = 40  # maximum links on the path to a file, as in Linux
_KEYS: Final = ("allowed-signers", "identities", "insecure", "require-signature", "revoked")


class Policy(NamedTuple):
    """A machine's requirements. Without a policy file, there are no requirements.

    ``allowed`` and ``revoked`` are absolute file names: the file of signers, and the file of revoked keys.
    ``identities`` maps patterns of repositories to the signers who must sign bundles for images in these repositories.
    A pattern may end with ``*``. ``insecure`` lists the registries that are contacted without TLS. If ``insecure`` is
    None, the command line decides.
    """

    allowed: str | None = None
    is_signature_required: bool = False
    revoked: str | None = None
    identities: Mapping[str, tuple[str, ...]] = {}
    insecure: frozenset[str] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the policy names."""
        return tuple(filter(None, (self.allowed, self.revoked)))

    def signers(self, own: Signers | None, tmp: str | None) -> Signers | None:
        """Return the required signers of bundles. The result combines the policy with the command's signers (``own``).

        Return None if no signer is required. Raises :class:`UsageError` if a signature is required and no signers are
        given. Raises :class:`FileError` if a list of signers is missing, or if other users can change it.
        """
        allowed = self.allowed or (own.allowed if own else None)
        if allowed is None:
            if self.is_signature_required:
                raise UsageError(messages.POLICY_NO_SIGNERS, path=PATH)
            return None
        if self.allowed is None and self.revoked is None:
            return None
        for name in self.files:
            require_safe(name)
        from dibundle.format.signing import Signers

        return Signers(
            allowed=allowed,
            signatures=own.signatures if own else (),
            revoked=self.revoked,
            verify_time=own.verify_time if own and self.allowed is None else None,
            tmp=own.tmp if own else tmp,
        )

    def identities_for(self, names: Iterable[str]) -> dict[tuple[str, ...], str]:
        """Return the required signers for images with these names.

        Each set of identities comes with the name to which it applies. If several patterns match a name, the longest
        pattern decides. "" stands for an image without a name.
        """
        found: dict[tuple[str, ...], str] = {}
        for name in names if self.identities else ():
            for repository in _repositories(name):
                fitting = [pattern for pattern in self.identities if _fits(pattern, repository)]
                if fitting:  # an exact name has precedence over a prefix of the same length
                    best = max(fitting, key=lambda pattern: (len(pattern.removesuffix("*")), not pattern.endswith("*")))
                    found.setdefault(self.identities[best], name)
        return found

    @property
    def demands_signatures(self) -> bool:
        """Whether bundles must be signed."""
        return self.allowed is not None or self.is_signature_required

    @property
    def demands(self) -> list[str]:
        """The requirements, as phrases for display."""
        found = []
        if self.allowed is not None:
            found.append(f"bundles signed by those in {self.allowed}")
        elif self.is_signature_required:
            found.append("signed bundles")
        if self.revoked is not None:
            found.append(f"no keys of {self.revoked}")
        if self.identities:
            found.append(f"identities for {', '.join(sorted(self.identities))}")
        if self.insecure is not None:
            found.append(f"TLS but for {', '.join(sorted(self.insecure)) or 'no registry'}")
        return found


def read_policy() -> Policy:
    """Return the policy of this machine.

    Raises :class:`FileError` if the policy cannot be read or parsed, because dib cannot obey an unknown policy. The
    same error is raised if users other than root and the current user can change the policy.
    """
    try:
        fd = os.open(PATH, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        # if this file is missing, a policy may still exist: a link in the path may lead to an unmounted disk
        places = (Path(PATH), *Path(PATH).parents)
        leads_nowhere = any(place.is_symlink() and not place.exists() for place in places)
        if isinstance(error, FileNotFoundError) and not leads_nowhere:
            return Policy()
        raise _unreadable(error.strerror) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _unreadable("it is no regular file")
        require_safe(PATH)
        # one read suffices, because reading a regular file returns all requested bytes that exist
        data = os.read(fd, _MAX_SIZE + 1)
    except OSError as error:
        raise _unreadable(error.strerror) from error
    finally:
        os.close(fd)
    if len(data) > _MAX_SIZE:
        raise _unreadable(f"it has more than {_MAX_SIZE:,} bytes")
    return _parse(data)


def require_safe(name: str) -> None:
    """Raise :class:`FileError` if a file is missing, or users other than root and the current user can change it."""
    try:
        for place, status in walk(name):
            if status.st_uid not in (0, os.geteuid()):
                raise FileError(messages.POLICY_OWNER, place=place, owner=status.st_uid, quoted=shell_words(str(place)))
            # in a sticky folder such as /tmp, users cannot replace others' files
            is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
            is_open = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(status.st_mode)
            if is_open and not is_sticky:
                raise FileError(messages.POLICY_WRITABLE, place=place, quoted=shell_words(str(place)))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        if name == PATH:
            raise _unreadable(reason) from error
        raise FileError(messages.POLICY_FILE, name=name, reason=reason, path=PATH) from error


def walk(name: str) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield each folder and link on the path to a file, and then the file. Each path comes with its status.

    Raises :class:`OSError` for an endless chain of links.
    """
    path, left, links = Path("/"), [*reversed(str(Path(name).absolute()).split("/"))], 0
    yield path, path.lstat()
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        path = path.parent if part == ".." else path / part
        status = path.lstat()
        yield path, status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(path)  # noqa: PTH115 - as written, not as a path
            path = Path("/") if target.startswith("/") else path.parent
            left += reversed(target.split("/"))


def _unreadable(reason: str | None) -> FileError:
    return FileError(messages.POLICY_UNREADABLE, path=PATH, reason=reason, quoted=shell_words(PATH))


def _parse(data: bytes) -> Policy:
    import tomllib  # imported only if needed, because only a few machines have a policy

    try:
        text = data.decode()
        found = tomllib.loads(text)
    except ValueError as error:  # the file is not TOML, or not UTF-8
        line = re.search(r"at line (\d+)", str(error))
        raise _malformed(str(error), int(line[1]) if line else None) from error
    fields = _Fields(text, found)
    for key in found:
        if key not in _KEYS:
            raise fields.wrong(key, f"unknown key, wanted {', '.join(_KEYS)}")
    policy = Policy(
        allowed=fields.path("allowed-signers"),
        is_signature_required=fields.flag("require-signature"),
        revoked=fields.path("revoked"),
        identities=fields.identities("identities"),
        insecure=fields.hosts("insecure"),
    )
    if policy.allowed is not None and found.get("require-signature") is False:
        raise fields.wrong("require-signature", "false contradicts allowed-signers, which requires signatures")
    if policy.identities and policy.allowed is None:
        raise fields.wrong("identities", "allowed-signers is missing, which has the keys of identities")
    return policy


class _Fields:
    """The values of a policy, by key. A value of a wrong type is refused with its line number."""

    def __init__(self, text: str, found: Mapping[str, object]) -> None:
        self._text = text
        self._found = found

    def wrong(self, key: str, reason: str) -> FileError:
        """Return the error about a key."""
        place = re.search(rf"""^\s*\[?\s*["']?{re.escape(key)}["']?\s*[=.\]]""", self._text, re.MULTILINE)
        start = place.end() if place else 0
        return _malformed(f"{key}: {reason}", self._text.count("\n", 0, start) + 1 if place else None)

    def path(self, key: str) -> str | None:
        """Return the absolute file name that a key gives, or None if the key is absent."""
        value = self._found.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
            raise self.wrong(key, f"the absolute name of a file is wanted, not {_shown(value)}")
        return value

    def flag(self, key: str) -> bool:
        """Return the boolean value of a key. An absent value is false."""
        value = self._found.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"true or false is wanted, not {_shown(value)}")
        return value

    def hosts(self, key: str) -> frozenset[str] | None:
        """Return the registries that a key lists, or None if the key is absent."""
        value = self._found.get(key)
        if value is None:
            return None
        hosts = _texts(value)
        if hosts is None or not all(re.fullmatch(r"[^\s/]+", host) for host in hosts):
            raise self.wrong(key, f"a list of HOST or HOST:PORT is wanted, not {_shown(value)}")
        return frozenset(hosts)

    def identities(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return the required signers for each pattern of repositories."""
        table = self._found.get(key, {})
        if not isinstance(table, dict):
            raise self.wrong(key, f"a table [{key}] is wanted, not {_shown(table)}")
        found = {}
        for pattern, value in table.items():
            who = _texts([value] if isinstance(value, str) else value)
            if not who or not all(who):
                raise self.wrong(pattern, f"an identity or a list of them is wanted, not {_shown(value)}")
            if not re.fullmatch(r"[^\s*@]*\*|[^\s*@]+", pattern) or ":" in pattern.rpartition("/")[2]:
                raise self.wrong(pattern, "a repository without a tag is wanted, or its beginning and *")
            if pattern.endswith("/"):
                raise self.wrong(pattern, f"no repository is called so; {pattern}* means all that begin so")
            if pattern.endswith("*") and pattern != "*" and "/" not in pattern:
                raise self.wrong(pattern, "before * the whole host is wanted with its /, as in docker.io/team*")
            for whole in _canonical(pattern):
                if not (whole in ("", "*") or _REPOSITORY.fullmatch(whole)):
                    raise self.wrong(pattern, "no repository is called so, as all behind its host is in small letters")
                if whole in found:
                    raise self.wrong(pattern, "another pattern means the same repositories")
                found[whole] = tuple(who)
        return found


def _texts(value: object) -> list[str] | None:
    """Return ``value`` if it is a list of texts. Otherwise, return None."""
    if not isinstance(value, list):
        return None
    return value if all(isinstance(item, str) for item in value) else None


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _malformed(reason: str, line: int | None) -> FileError:
    where = PATH if line is None else f"{PATH}:{line}"
    return FileError(messages.POLICY_MALFORMED, where=where, reason=reason)


_HOST: Final = re.compile(r"localhost|[^/]*[.:][^/]*")
_HUBS: Final = re.compile(r"(?:(?:index\.)?docker\.io(?::443)?/)+", re.ASCII | re.IGNORECASE)
_REPOSITORY: Final = re.compile(r"[^/A-Z]+(?:/[^/A-Z]+)*(?:/?\*)?")


def _canonical(repository: str) -> list[str]:
    """Return the spellings under which a repository's name is compared. A name may be a prefix that ends with ``*``.

    If a name has no host, some engines use docker.io, and other engines use localhost. So the names with both hosts are
    returned. In docker.io, ``app`` is ``library/app``. docker drops ``docker.io/`` even if another host follows.
    """
    if repository in ("", "*"):
        return [repository]
    host, slash, path = repository.partition("/")
    if not slash or not _HOST.fullmatch(host):
        return [*_canonical(f"docker.io/{repository}"), f"localhost/{repository}"]
    host = (host.lower() if host.isascii() else host).removesuffix(":443")
    if host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in path and path != "*":
        also = [f"docker.io/{path}"] if path.endswith("*") else []
        return [f"docker.io/library/{path}", *also]
    hubs = _HUBS.match(path)
    last = path[hubs.end() :] if hubs else path
    if host == "docker.io" and (last != path or _HOST.fullmatch(path.partition("/")[0])):
        return [f"docker.io/{path}", *_canonical(last)]
    return [f"{host}/{path}"]


def _repositories(name: str) -> list[str]:
    """Return the repository of an image's name, in the spellings that are used for comparisons.

    "" stands for an image without a name.
    """
    path = name.partition("@")[0]
    return _canonical(path.rpartition(":")[0] if ":" in path.rpartition("/")[2] else path)


def _fits(pattern: str, repository: str) -> bool:
    return repository.startswith(pattern[:-1]) if pattern.endswith("*") else repository == pattern
