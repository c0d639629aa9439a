"""Pull pairs of images directly and through ``dib mirror``, and compare bytes and seconds (results are in MIRROR.md).

    python bench/mirror.py HOST NAME... [--rate MBIT] [--delay MS] [--clients skopeo,...] [--prefer speed]
    python bench/mirror.py HOST NAME... --loopback [--rounds N] [--clients skopeo,...]

HOST is a registry on this machine without TLS. Each NAME is a repository in this registry. It has the tags ``a`` and
``b``, pushed by ``docker push``, and a bundle from ``a`` to ``b``. A proxy in front of the registry counts bytes.
``--rate`` is the proxy's limit in megabits per second, and ``--delay`` the added milliseconds per round trip. Each
client pulls ``a``, then ``b``, from the registry. Then each client pulls both tags from a mirror with an empty cache.
The engines are the same as in the test suite (docker needs root). ``oras`` and ``skopeo`` copy to a folder. If an
image's digest differs from upstream's, the run fails.

With ``--loopback``, there is no proxy. The script then compares seconds at full speed. It also measures docker-registry
as a pull-through cache, which does not rebuild layers. Two other servers use relay.c (compiled here; needs libssl-dev).
The first server passes bytes on, hashes them and writes them; the second server only passes bytes on. Each round begins
with empty stores; the medians are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import engines

PIECE = 16 << 10
AHEAD = 64  # maximum number of pieces in transit for each connection
ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
CLIENTS = ("skopeo", "oras", "classic", "containerd", "podman", "ctr")


@dataclass
class Link:
    """A proxy to a registry over a slow line, which all connections share."""

    target: tuple[str, int]
    rate: float | None  # bytes a second
    delay: float  # seconds of a round trip
    received: int = 0
    connections: int = 0
    port: int = 0
    _free: float = 0.0
    _ready: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def open(self) -> Iterator[str]:
        """Serve in a thread; yield the proxy's host."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(),), daemon=True)
        thread.start()
        self._ready.wait(10)
        yield f"127.0.0.1:{self.port}"

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await asyncio.sleep(self.delay)  # the TCP handshake
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, back, counts=False), self._pass(there, writer, counts=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool) -> None:
        """Pass bytes on. Each byte arrives half a round-trip time after the line has sent the byte."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(AHEAD)

        async def arrive() -> None:
            while True:
                when, piece = await waiting.get()
                await asyncio.sleep(when - time.monotonic())
                if not piece:
                    break
                writer.write(piece)
                await writer.drain()

        arriving = asyncio.create_task(arrive())
        with suppress(ConnectionError):
            while True:
                piece = await reader.read(PIECE)
                now = time.monotonic()
                if counts and self.rate:
                    self._free = max(self._free, now) + len(piece) / self.rate
                    # let the line run ahead by at most one round trip
                    await asyncio.sleep(self._free - now - self.delay)
                    now = self._free
                self.received += len(piece) if counts else 0
                await waiting.put((now + self.delay / 2, piece))
                if not piece:
                    break
        with suppress(ConnectionError):
            await arriving
            writer.close()


class Mirror:
    """A mirror in a separate process."""

    def __init__(self, upstream: str, folder: Path, *options: str) -> None:
        command = (sys.executable, "-m", "dibundle", "mirror", "--upstream", f"site={upstream}")
        more = ("--listen", "127.0.0.1:0", "--cache", str(folder / "cache"), *options)
        self.process = subprocess.Popen((*command, *more), stderr=subprocess.PIPE, text=True)
        assert self.process.stderr
        self.host = "127.0.0.1:" + self.process.stderr.readline().split(",")[0].rpartition(":")[2]
        self.lines: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            with suppress(ValueError):
                self.lines.append(json.loads(line))

    @property
    def cpu(self) -> float:
        """Seconds of CPU so far, including processes that have ended."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def pull_through(upstream: str, folder: Path) -> Iterator[str]:
    """Run docker-registry as a cache of another registry; yield its host."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
        f"http: {{addr: '{host}'}}\nproxy: {{remoteurl: 'http://{upstream}'}}\n"
    )
    command = ["docker-registry", "serve", str(folder / "config.yml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(f"http://{host}/v2/"):
                break
            time.sleep(0.05)
        yield host
        server.terminate()


@contextmanager
def relay(upstream: str, folder: Path, *, keeps: bool = True) -> Iterator[str]:
    """Compile and run relay.c; yield its host. With ``keeps``, relay.c also hashes and writes the bytes."""
    program, kept = folder / "relay", folder / "kept"
    kept.mkdir()
    command = ["cc", "-O2", "-o", str(program), str(Path(__file__).with_name("relay.c")), "-lcrypto", "-lpthread"]
    subprocess.run(command, check=True)
    with subprocess.Popen(
        [program, upstream.rpartition(":")[2], *([kept] if keeps else [])], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield f"127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


Pull = Callable[[str, str, str], str]
"""A function that pulls HOST, NAME, TAG and returns a digest: the digest of the manifest, or the image ID."""


@contextmanager
def client(kind: str, folder: Path) -> Iterator[Pull]:
    """Start a client with an empty store; yield its pull function."""
    if kind in ("skopeo", "oras"):
        yield _copier(kind, folder)
        return
    with engines.engine(kind) as engine:  # type: ignore[arg-type]  # one of CLIENTS

        def pull(host: str, name: str, tag: str) -> str:
            whole = f"{host}/{name}:{tag}"
            if kind == "ctr":
                engine.run("ctr", "images", "pull", "--plain-http", "--snapshotter", "native", whole)
                listed = engine.run("ctr", "images", "list", f"name=={whole}").decode().splitlines()
                return listed[1].split()[2]
            engine.run(engine.dib_name, "pull", *(("--tls-verify=false",) if kind == "podman" else ()), whole)
            told = json.loads(engine.run(engine.dib_name, "image", "inspect", whole))[0]
            return "sha256:" + told["Id"].removeprefix("sha256:")

        yield pull


def _copier(kind: str, folder: Path) -> Pull:
    def pull(host: str, name: str, tag: str) -> str:
        place = folder / f"{Path(name).name}-{tag}"
        if kind == "oras":
            command = ["oras", "copy", "--from-plain-http", f"{host}/{name}:{tag}", "--to-oci-layout", f"{place}:x"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return str(json.loads((place / "index.json").read_bytes())["manifests"][0]["digest"])
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--src-tls-verify=false"]
        subprocess.run([*command, f"docker://{host}/{name}:{tag}", f"dir:{place}"], check=True)
        return "sha256:" + hashlib.sha256((place / "manifest.json").read_bytes()).hexdigest()

    return pull


class Image(NamedTuple):
    """An image in a registry: the digests that engines report for the image, and its sizes in bytes."""

    manifest: str
    config: str
    documents: int  # bytes of manifest and config
    layers: int


def upstream(host: str, name: str, tag: str) -> Image:
    """Look up an image."""
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request) as response:
        body, digest = response.read(), response.headers["Docker-Content-Digest"]
    value = json.loads(body)
    config = value["config"]
    return Image(digest, config["digest"], len(body) + config["size"], sum(item["size"] for item in value["layers"]))


class Pulled(NamedTuple):
    """Cost of a pull: seconds, and bytes received."""

    seconds: float
    received: int


def measured(pull: Pull, link: Link, host: str, name: str, tag: str, image: Image) -> Pulled:
    """Pull an image, check its digest, and return the cost."""
    before, begun = link.received, time.monotonic()
    digest = pull(host, name, tag)
    found = Pulled(time.monotonic() - begun, link.received - before)
    if digest not in (image.manifest, image.config):
        raise SystemExit(f"{name}:{tag} by {host} is {digest}, not {image.manifest}")
    return found


def compare(kind: str, host: str, name: str, link: Link, proxy: str, options: tuple[str, ...]) -> list[str]:
    """Pull a pair directly and through a mirror; return a row of the table."""
    images = {tag: upstream(host, name, tag) for tag in "ab"}
    found: dict[tuple[str, str], Pulled] = {}
    way: Any = "?"
    for side in ("plain", "mirror"):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            pull = stack.enter_context(client(kind, folder))
            where, repository = proxy, name
            if side == "mirror":
                mirror = stack.enter_context(Mirror(proxy, folder, *options))
                where, repository = mirror.host, f"site/{name}"
            for tag in "ab":
                begun = mirror.cpu if side == "mirror" else 0.0
                found[side, tag] = measured(pull, link, where, repository, tag, images[tag])
                cpu = mirror.cpu - begun if side == "mirror" else 0.0
            if side == "mirror":
                last = mirror.lines[-1] if mirror.lines else {}
                way = f"{last.get('way')} {last.get('reason', '')} {last.get('bundle_bytes', 0)}".replace("  ", " ")
                extra = found["mirror", "b"].received - int(last.get("bundle_bytes", 0)) - images["b"].documents
    plain_b, mirror_b = found["plain", "b"], found["mirror", "b"]
    return [
        name,
        kind,
        *(f"{found[side, tag].received / 1e6:.2f}" for side in ("plain", "mirror") for tag in "ab"),
        f"{mirror_b.received / max(1, plain_b.received):.3f}",
        f"{extra:,}",
        *(f"{found[side, tag].seconds:.1f}" for side in ("plain", "mirror") for tag in "ab"),
        f"{found['mirror', 'a'].seconds / found['plain', 'a'].seconds:.2f}",
        f"{mirror_b.seconds / plain_b.seconds:.2f}",
        f"{cpu:.1f}",
        way,
    ]


def at_full_speed(kind: str, host: str, name: str, rounds: int) -> list[str]:
    """Pull a pair directly, through a mirror, docker-registry's cache and a bare relay, in turn; return a row."""
    images = {tag: upstream(host, name, tag) for tag in "ab"}
    link = Link(("", 0), None, 0.0)  # not used
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    makers = {"cache": pull_through, "relay": relay, "pipe": partial(relay, keeps=False)}
    for _ in range(rounds):
        for side in ("plain", *_BETWEEN):
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                pull = stack.enter_context(client(kind, folder))
                where, repository = host, name
                if side == "mirror":
                    mirror = stack.enter_context(Mirror(host, folder, "--prefer", "speed"))
                    where, repository = mirror.host, f"site/{name}"
                elif side != "plain":
                    where = stack.enter_context(makers[side](host, folder))
                for tag in "ab":
                    found[side, tag].append(measured(pull, link, where, repository, tag, images[tag]).seconds)
    medians = {key: statistics.median(seconds) for key, seconds in found.items()}
    ratios = [medians[side, tag] / medians["plain", tag] for tag in "ab" for side in _BETWEEN]
    return [name, kind, *(f"{medians['plain', tag]:.2f}" for tag in "ab"), *(f"{ratio:.2f}" for ratio in ratios)]


_BETWEEN = ("mirror", "cache", "relay", "pipe")
"""What stands between client and registry."""
FULL_SPEED = (
    "| pair | client | plain a, s | plain b "
    "| a: mirror | a: pull-through cache | a: relay | a: pipe "
    "| b: mirror | b: pull-through cache | b: relay | b: pipe |"
)
HEAD = (
    "| pair | client | plain a, MB | plain b | mirror a | mirror b | b: ratio | beside bundle and documents, B "
    "| plain a, s | plain b | mirror a | mirror b | a: ratio | b: ratio | CPU for b | way |"
)


def print_rows(head: str, rows: Iterable[list[str]]) -> None:
    """Print a table; print each row as soon as its values are known."""
    print(head)
    print("|---" * head.count(" | ") + "|---|", flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("host")
    parser.add_argument("names", nargs="+")
    parser.add_argument("--rate", type=float, help="megabits a second")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds there and back")
    parser.add_argument("--clients", default="skopeo")
    parser.add_argument("--prefer", default="bytes", choices=("bytes", "speed"))
    parser.add_argument("--make-timeout", default="60", help="seconds; engines beside it take CPU too")
    parser.add_argument("--loopback", action="store_true", help="seconds at full speed, beside docker-registry's cache")
    parser.add_argument("--rounds", default=3, type=int)
    told = parser.parse_args()
    if told.loopback:
        print_rows(
            FULL_SPEED,
            (
                at_full_speed(kind, told.host, name, told.rounds)
                for name in told.names
                for kind in told.clients.split(",")
            ),
        )
        return
    host, _, port = told.host.rpartition(":")
    link = Link((host, int(port)), told.rate and told.rate * 1e6 / 8, told.delay / 1000)
    options = ("--prefer", told.prefer, "--make-timeout", told.make_timeout)
    with link.open() as proxy:
        print_rows(
            HEAD,
            (
                compare(kind, told.host, name, link, proxy, options)
                for name in told.names
                for kind in told.clients.split(",")
            ),
        )


if __name__ == "__main__":
    main()
