"""Let many clients pull from ``dib mirror`` at once, and then thousands of times one after another.

    python bench/mirror_load.py [--clients 50] [--images 10] [--pulls 2000] [--large MIB]

A registry in this process has ``--images`` images of three layers. For each image, a bundle rebuilds one layer from the
previous version. All clients pull all images at the same time. Then one blob of ``--large`` MiB is read from the cache.
Then ``--pulls`` images are pulled one after another; the mirror's memory and open files must not grow. The script
prints the measurements, and fails if a blob was fetched or rebuilt twice, or was wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.mirror import Mirror
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise, text
from tests.mirror.conftest import Client
from tests.sources.conftest import put_image
from tests.sources.server import Registry, digest, serve


def image(number: int, version: int) -> TestImage:
    """Return an image of three layers: one for all images, one for all versions of this image, one unique."""
    common = build_layer([file("usr/common", noise(1, 1_000_000))])
    own = build_layer([file("usr/own", noise(100 + number, 1_000_000))])
    last = [
        file("app/version", b"%d" % version),
        file("app/data", noise(200 + number, 2_000_000) + text(version, 9000)),
    ]
    return TestImage([common, own, build_layer(last)], [f"example.com/app{number}:{version}"])


def fill(registry: Registry, folder: Path, count: int) -> None:
    """Push images, their bundles, and one large blob."""
    for number in range(count):
        for version in (1, 2):
            archive = folder / f"{number}-{version}.tar"
            archive.write_bytes(docker_save([image(number, version)], "oci", "gzip"))
            put_image(registry, archive, f"v{version}", f"app{number}")
        bundle = folder / f"{number}.dib"
        dib = (sys.executable, "-m", "dibundle")
        subprocess.run(
            [*dib, "create", "-q", folder / f"{number}-1.tar", folder / f"{number}-2.tar", bundle], check=True
        )
        place = f"docker://{registry.host}/app{number}:v1-v2"
        subprocess.run([*dib, "push", "-q", bundle, place, "--subject", "v2"], check=True, stdout=subprocess.DEVNULL)


def pull(port: int, number: int, version: int) -> list[str]:
    """Pull an image as an engine does; return the errors."""
    client = Client(port)
    manifest = client.ask(f"/v2/site/app{number}/manifests/v{version}")
    if manifest.status != 200:
        return [f"manifest {manifest.status}"]
    wrong = []
    for item in (manifest.json["config"], *manifest.json["layers"]):
        answer = client.ask(f"/v2/site/app{number}/blobs/{item['digest']}")
        if answer.status != 200 or digest(answer.body) != item["digest"]:
            wrong.append(f"blob {answer.status}")
    return wrong


def pull_all(port: int, count: int, version: int, clients: int) -> list[str]:
    """Pull all images with ``clients`` clients at once; return the errors."""
    with ThreadPoolExecutor(clients) as pool:
        asked = [
            pool.submit(pull, port, (number + start) % count, version)
            for start in range(clients)
            for number in range(count)
        ]
        return [text for answer in asked for text in answer.result()]


def read(port: int, path: str) -> tuple[int, float]:
    """Read a blob without checking it; return bytes and seconds."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begun = time.monotonic()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        count = 0
        while got := connection.recv_into(buffer):
            count += got
        return count, time.monotonic() - begun


def memory(pid: int) -> dict[str, int]:
    """Return resident memory in kB, current and peak, and the number of open files."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return {"now": int(status["VmRSS"].split()[0]), "peak": int(status["VmHWM"].split()[0]), "files": files}


class Peak(threading.Thread):
    """A thread that measures the resident memory of a process and its children, ten times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.most = pid, 0

    def run(self) -> None:
        """Watch until the process ends."""
        with suppress(OSError):
            while True:
                tasks = Path(f"/proc/{self._pid}/task").iterdir()
                children = {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
                total = memory(self._pid)["now"]
                for pid in children:
                    with suppress(OSError, KeyError):
                        total += memory(pid)["now"]
                self.most = max(self.most, total)
                time.sleep(0.1)


def main() -> None:
    """Run the measurements of the command line, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--pulls", type=int, default=2000)
    parser.add_argument("--large", type=int, default=512)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serve() as registry:
        folder = Path(name)
        fill(registry, folder, told.images)
        large = os.urandom(1 << 20) * told.large
        registry.blobs["app0", "sha256:" + hashlib.sha256(large).hexdigest()] = large
        with Mirror(registry.host, folder, "--prefer", "bytes") as mirror:
            port, pid = int(mirror.host.rpartition(":")[2]), mirror.process.pid
            peak = Peak(pid)
            peak.start()
            workers = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            for version in (1, 2):
                registry.asked.clear()
                begun = time.monotonic()
                wrong = workers.submit(pull_all, port, told.images, version, told.clients).result()
                seconds = time.monotonic() - begun
                fetched = Counter(path for verb, path, _ in registry.asked if verb == "GET" and "/blobs/" in path)
                again = {path: count for path, count in fetched.items() if count > 1}
                print(
                    f"v{version}: {told.clients} clients, {told.images} images: {seconds:.1f} s, {len(wrong)} errors,"
                    f" {len(fetched)} blobs fetched, {len(again)} of them again; {memory(pid)}"
                )
                if wrong or again:
                    raise SystemExit(f"{Counter(wrong)} {again}")
            made = Counter(line.get("way") for line in mirror.lines)
            print(f"ways of pulls: {dict(made)}; the mirror and its processes had {peak.most} kB at most")
            path = "/v2/site/app0/blobs/sha256:" + hashlib.sha256(large).hexdigest()
            for what in ("from upstream", "from the cache", "from the cache"):
                count, taken = workers.submit(read, port, path).result()
                if count < told.large << 20:
                    raise SystemExit(f"{count} bytes in place of a blob of {told.large} MiB")
                print(f"a blob of {told.large} MiB {what}: {count / taken / 1e6:.0f} MB/s; {memory(pid)}")
            soon = repeat(workers, port, told.images, 200)
            first = memory(pid)
            wrong = soon + repeat(workers, port, told.images, told.pulls - 200)
            last = memory(pid)
            print(f"after 200 pulls {first}, after {told.pulls} {last}: {last['now'] / first['now']:.3f}")
            if wrong:
                raise SystemExit(str(Counter(wrong)))
            workers.shutdown()


def repeat(workers: ProcessPoolExecutor, port: int, count: int, times: int) -> list[str]:
    """Pull images one after another. Each image is pulled by two clients at the same time."""
    begun = time.monotonic()
    wrong = workers.submit(_repeat, port, count, times).result()
    print(f"{times} pulls: {time.monotonic() - begun:.1f} s, {len(wrong)} errors")
    return wrong


def _repeat(port: int, count: int, times: int) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        answers: list[Any] = list(
            pool.map(lambda number: pull(port, number % count, 1 + number // count % 2), range(times))
        )
    return [text for wrong in answers for text in wrong]


if __name__ == "__main__":
    main()
