"""A mirror of a registry with TLS and a password. Clients without the password get nothing that other clients have
pulled.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from dibundle.sharing.mirror.options import Listen, MirrorOptions
from dibundle.sources.access import Access
from dibundle.sources.registry.settings import RegistrySettings
from tests import needs
from tests.mirror.conftest import MANIFEST, Client, mirroring
from tests.sources.conftest import REPOSITORY, Files, blobs
from tests.sources.server import digest

pytestmark = pytest.mark.engine

ACCEPT = f"{MANIFEST}, application/vnd.oci.image.index.v1+json"
LOGIN = base64.b64encode(b"me:secret").decode()


class Private(NamedTuple):
    """A registry with TLS and a password. The object holds the registry's host, and a folder that contains the
    certificate and the login.
    """

    host: str
    folder: Path


@pytest.fixture(scope="module")
def upstream(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    """A docker-registry with v1, v2 and the bundle from v1 to v2. The certificate is for this machine's name, because
    TLS needs a name.
    """
    needs.programs("skopeo", "openssl", "docker-registry")
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        if name != "localhost" and socket.gethostbyname(name).startswith("127."):
            with _registry(name, tmp_path_factory.mktemp("private")) as found:
                _push(found, files)
                yield found
            return
    pytest.skip(f"{name} does not lead to this machine")


@contextlib.contextmanager
def _registry(name: str, folder: Path) -> Iterator[Private]:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", "key.pem"]
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-out", "ca.crt"]
    subprocess.run(["openssl", "req", "-x509", *key, *names], cwd=folder, check=True, capture_output=True)
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    (folder / "htpasswd").write_bytes(b"me:" + crypt(b"secret", b"$2b$05$abcdefghijklmnopqrstuu") + b"\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"{name}:{probe.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{host}', tls: {{certificate: {folder}/ca.crt, key: {folder}/key.pem}}}}\n"
        f"auth: {{htpasswd: {{realm: x, path: {folder}/htpasswd}}}}\n"
    )
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": LOGIN}}}))
    with subprocess.Popen(
        ["docker-registry", "serve", folder / "config.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            end = time.monotonic() + 20
            while time.monotonic() < end:
                with contextlib.suppress(OSError), socket.create_connection((name, int(host.split(":")[1])), 1):
                    break
                time.sleep(0.05)
            yield Private(host, folder)
        finally:
            server.send_signal(signal.SIGTERM)


def _push(upstream: Private, files: Files) -> None:
    for number in (1, 2):
        options = ["--dest-creds", "me:secret", "--dest-cert-dir", upstream.folder]
        command = ["skopeo", "--insecure-policy", "copy", "-q", *options, f"oci-archive:{files.archive(number)}"]
        subprocess.run([*command, f"docker://{upstream.host}/{REPOSITORY}:v{number}"], check=True)
    command = [sys.executable, "-m", "dibundle", "push", "-q", files.bundle(1, 2)]
    place = f"docker://{upstream.host}/{REPOSITORY}:v1-v2"
    env = {"SSL_CERT_FILE": str(upstream.folder / "ca.crt"), "DOCKER_CONFIG": str(upstream.folder)}
    subprocess.run([*command, place], check=True, env={**os.environ, **env})


@pytest.fixture
def options(upstream: Private, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MirrorOptions:
    monkeypatch.setenv("SSL_CERT_FILE", str(upstream.folder / "ca.crt"))
    return MirrorOptions(
        upstreams={"site": upstream.host},
        cache=tmp_path / "cache",
        cache_size=1 << 30,
        listen=Listen("127.0.0.1", 0),
        prefer="bytes",
    )


def test_who_has_no_password_gets_nothing(options: MirrorOptions) -> None:
    with mirroring(options, Access()) as mirror:
        friend = Client(mirror.client.port, headers={"Authorization": f"Basic {LOGIN}"})
        for tag in ("v1", "v2"):
            image = friend.pull(tag)
        mirror.client.pulls = 2
        assert mirror.last()["way"] == "delta"
        manifest = digest(friend.manifest("v2").body)
        wrong = base64.b64encode(b"me:wrong").decode()
        for headers in ({}, {"Authorization": f"Basic {wrong}"}):
            stranger = Client(mirror.client.port, headers=headers)
            elsewhere = Client(mirror.client.port, prefix="site/other/", headers=headers)
            for part in (
                "manifests/v2",
                f"manifests/{manifest}",
                f"manifests/{manifest.replace(':', '-')}",
                "tags/list",
            ):
                assert friend.get(part, Accept=ACCEPT).status == 200, part
                for client in (stranger, elsewhere):
                    assert client.get(part, Accept=ACCEPT).status == 401, part
            for name in image:
                for client in (stranger, elsewhere):
                    answer = client.blob(name)
                    assert answer.status == 401
                    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        friend_elsewhere = Client(mirror.client.port, prefix="site/other/", headers=friend.headers)
        for name in image:
            assert friend_elsewhere.blob(name).status == 404
        assert friend_elsewhere.get(f"manifests/{manifest}", Accept=ACCEPT).status == 404


def test_skopeo_pulls_by_the_login_of_the_mirror(
    options: MirrorOptions, upstream: Private, files: Files, tmp_path: Path
) -> None:
    access = Access(registries=RegistrySettings(logins=(upstream.folder / "config.json",)))
    with mirroring(replace(options, is_private=True), access) as mirror:
        for number in (1, 2):
            source = f"docker://127.0.0.1:{mirror.client.port}/site/{REPOSITORY}:v{number}"
            command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", source]
            subprocess.run([*command, f"oci-archive:{tmp_path / f'{number}.tar'}"], check=True)
            assert blobs(tmp_path / f"{number}.tar") == blobs(files.archive(number))
        mirror.client.pulls = 2
        assert mirror.last()["way"] == "delta"


def test_a_mirror_with_tls(options: MirrorOptions, upstream: Private) -> None:
    certificate = str(upstream.folder / "ca.crt"), str(upstream.folder / "key.pem")
    with mirroring(replace(options, certificate=certificate), Access()) as mirror:
        trust = ssl.create_default_context(cafile=certificate[0])
        connection = http.client.HTTPSConnection(socket.gethostname(), mirror.client.port, timeout=20, context=trust)
        with contextlib.closing(connection):
            connection.request("GET", f"/v2/site/{REPOSITORY}/tags/list", headers={"Authorization": f"Basic {LOGIN}"})
            assert json.loads(connection.getresponse().read())["tags"]
        with socket.create_connection(("127.0.0.1", mirror.client.port)) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200" not in plain.recv(100)
