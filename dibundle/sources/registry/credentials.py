"""Logins for a registry, from files of docker login and podman login, and from helpers that these files name."""

from __future__ import annotations

import base64
import binascii
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dibundle.errors import RegistryError
from dibundle.images import document
from dibundle.sources import messages

_MOST: Final = 1 << 20
_HELPER_SECONDS: Final = 60
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password; if ``user`` is empty, ``secret`` is an identity token."""

    user: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of the header for HTTP Basic authentication."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.secret}".encode()).decode()


def find(files: Sequence[Path], host: str, repository: str) -> Login | None:
    """Return the login for a repository from the first of ``files`` that has such a login. Skip missing files.

    Each file is a config.json of docker or an auth.json of podman. Raises :class:`RegistryError` if a file has another
    format, or if a helper fails.
    """
    for path in files:
        login = _in_file(path, host, repository)
        if login:
            return login
    return None


def _in_file(path: Path, host: str, repository: str) -> Login | None:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
    except OSError:
        return None
    try:
        value = json.loads(text) if len(text) <= _MOST else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise RegistryError(messages.LOGIN_FILE, path=path)
    helpers = document.get(value, "credHelpers")
    named = document.get_text(helpers, host)
    if named:
        return _ask(named, host)
    auths = document.get(value, "auths")
    entries = {_plain(key): entry for key, entry in auths.items()} if isinstance(auths, dict) else {}
    for key in _keys(host, repository):
        login = _in_entry(path, entries.get(key))
        if login:
            return login
    store = document.get_text(value, "credsStore")
    return _ask(store, host) if store else None


def _keys(host: str, repository: str) -> Iterator[str]:
    """Yield the keys that podman and docker may use for a repository. The most specific key comes first."""
    parts = [host, *repository.split("/")]
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])


def _plain(key: str) -> str:
    """Return a key in podman's form. docker's key may be a URL."""
    return re.sub(r"^https?://", "", key).removesuffix("/").removesuffix("/v1").removesuffix("/v2")


def _in_entry(path: Path, entry: object) -> Login | None:
    token = document.get_text(entry, "identitytoken")
    if token:
        return Login("", token)
    auth = document.get_text(entry, "auth")
    if not auth:
        return None
    try:
        user, colon, secret = base64.b64decode(auth, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        colon = ""
    if not colon:
        raise RegistryError(messages.LOGIN_UNREADABLE, path=path)
    return Login(user, secret.rstrip("\0"))


def _ask(helper: str, host: str) -> Login | None:
    """Run docker-credential-HELPER. Return None if the helper has no login for ``host``."""
    if not _HELPER.fullmatch(helper):
        raise RegistryError(messages.LOGIN_HELPER_NAME, helper=helper)
    program = f"docker-credential-{helper}"
    try:
        run = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no answer"
        raise RegistryError(messages.LOGIN_HELPER_MISSING, program=program, reason=reason, host=host) from error
    if run.returncode:
        text = (run.stdout + run.stderr).decode(errors="replace").strip()
        if "not found" in text:
            return None
        raise RegistryError(
            messages.LOGIN_HELPER_FAILED, program=program, splitlines=text.splitlines()[-1] if text else "no message"
        )
    try:
        told = json.loads(run.stdout)
    except (ValueError, RecursionError):
        told = None
    user, secret = document.get_text(told, "Username"), document.get_text(told, "Secret")
    if user is None or not secret:
        raise RegistryError(messages.LOGIN_HELPER_ANSWER, program=program)
    return Login("" if user == "<token>" else user, secret)
