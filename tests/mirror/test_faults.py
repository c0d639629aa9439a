"""Pulls during which a fault occurs. The client gets the right image, or the same error as without a mirror."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.bounds.measure import ROOT
from tests.mirror.conftest import Answer, Client
from tests.sources.conftest import REPOSITORY, signer
from tests.sources.server import Registry, Request, digest

RUNS = int(os.environ.get("DIB_FAULTS", "30"))  # .ci/long runs 200
UPSTREAM = ("status 500", "status 429", "stall", "cut", "lie", "late")
BUNDLE = ("deleted", "damaged", "cut bundle", "another bundle", "slow bundle")
OWN = ("kill", "flip", "truncate", "full disk", "unsigned", "nothing")
WITH_ERRORS = frozenset(("status 500", "status 429", "stall", "cut", "lie"))


@contextmanager
def process(
    registry: Registry, cache: Path, largest: int | None = None, signers: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """Run a mirror in its own process, as operators do.

    ``largest`` is the maximum size of a file in bytes. Writes beyond this size fail, in the same way as on a full disk.
    ``signers`` are the signers that the mirror requires for a bundle.
    """
    arguments = ("--upstream", f"site={registry.host}", "--listen", "127.0.0.1:0", "--cache", str(cache))
    command = (sys.executable, "-m", "dibundle", "mirror", *arguments, "--prefer", "bytes", "--make-timeout", "2")
    if signers:
        command += ("--allowed-signers", str(signers))
    limited = ("prlimit", f"--fsize={largest}", *command) if largest else command
    with subprocess.Popen(limited, stderr=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stderr
        port = int(started.stderr.readline().split(",")[0].rpartition(":")[2])
        reader = threading.Thread(target=started.stderr.read)
        reader.start()
        try:
            yield started, Client(port)
        finally:
            started.kill()
            reader.join()


def fault_of_upstream(fault: str, chance: random.Random) -> Callable[[Request], bool]:
    """Return a hook that causes a fault in blobs from upstream. The fault occurs once, or always."""
    left = [chance.choice((1, 1000))]
    after = chance.randrange(1, 90_000)

    def hook(request: Request) -> bool:
        if "/blobs/" not in request.path or request.command != "GET" or chance.random() < 0.5 or not left[0]:
            return False
        data = request.registry.blobs.get((REPOSITORY, request.path.rpartition("/")[2]))
        if data is None or len(data) < 50_000:
            return False
        left[0] -= 1
        if fault == "late":
            time.sleep(0.3)
            return False
        if fault == "stall":
            request.cut(data, min(after, len(data) - 1))
            time.sleep(0.3)
            return True
        if fault == "cut":
            return request.cut(data, min(after, len(data) - 1))
        if fault == "lie":
            return request.answer(200, data[:-1] + bytes([data[-1] ^ 1]))
        return request.fail(int(fault.removeprefix("status ")), Retry_After="0")

    return hook


def fault_of_bundle(fault: str, registry: Registry, chance: random.Random) -> Callable[[Request], bool]:
    """Return a hook that causes a fault in every bundle."""
    names = {item["digest"]: item for tag in ("v1-v2", "v2-v3") for item in bundles(registry, tag)}

    def hook(request: Request) -> bool:
        name = request.path.rpartition("/")[2]
        if name not in names or request.command != "GET":
            return False
        data = registry.blobs[REPOSITORY, name]
        if fault == "deleted":
            return request.fail(404)
        if fault == "cut bundle":
            return request.cut(data, chance.randrange(1, len(data)))
        if fault == "slow bundle":
            time.sleep(2.5)
            return False
        if fault == "another bundle":
            return request.answer(200, bytes(len(data)))
        spoilt = bytearray(data)
        spoilt[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return request.answer(200, bytes(spoilt))

    return hook


def bundles(registry: Registry, tag: str) -> list[dict[str, str]]:
    return list(json.loads(registry.manifests[REPOSITORY, tag][1])["layers"])


def pull(client: Client, tag: str) -> list[Answer] | None:
    """Pull an image as an engine does. Return None if the mirror ends during the pull."""
    with suppress(OSError):
        manifest = client.manifest(tag)
        if manifest.status != 200:
            return [manifest]
        named = manifest.json
        return [manifest, *(client.blob(item["digest"]) for item in (named["config"], *named["layers"]))]
    return None


def judge(answers: list[Answer], fault: str) -> bool:
    """Assert that every complete answer is right. Return whether the whole image was received."""
    for answer in answers:
        is_blob = answer.status == 200 and answer.is_whole
        if is_blob and "Docker-Content-Digest" in answer.headers:
            assert digest(answer.body) == answer.headers["Docker-Content-Digest"]
        elif answer.status != 200:
            assert answer.status in (429, 500, 502), (fault, answer)
    is_right = len(answers) > 1 and all(answer.status == 200 and answer.is_whole for answer in answers)
    assert is_right or fault in WITH_ERRORS, (fault, [(answer.status, answer.is_whole) for answer in answers])
    return is_right


@pytest.mark.slow
def test_faults(stocked: Registry, tmp_path: Path) -> None:
    verdicts: Counter[tuple[str, str]] = Counter()
    signers = signer(tmp_path)
    for run in range(RUNS):
        chance = random.Random(run)
        fault = chance.choice((*UPSTREAM, *BUNDLE, *OWN))
        is_plain = (
            fault in UPSTREAM
            # with an empty cache, a run fetches all layers; otherwise, it finds content of earlier runs in the cache
        )
        cache = tmp_path / (f"plain-{run}" if is_plain else f"cache-{run // 10}")
        stocked.hook = lambda request: False
        with process(stocked, cache) as (started, client):
            base, wanted = chance.choice((("v1", "v2"), ("v2", "v3"), ("v1", "v3")))
            if not is_plain:
                assert pull(client, base)
            kept = sorted((cache / "blobs").glob("*/*"))
            if fault in UPSTREAM:
                stocked.hook = fault_of_upstream(fault, chance)
            elif fault in BUNDLE:
                stocked.hook = fault_of_bundle(fault, stocked, chance)
            elif fault == "kill":
                threading.Timer(chance.random() / 4, started.send_signal, (signal.SIGKILL,)).start()
            elif fault in ("flip", "truncate"):
                file = chance.choice(kept)
                data = bytearray(file.read_bytes())
                data[chance.randrange(len(data))] ^= 1
                file.write_bytes(data if fault == "flip" else data[: len(data) // 2])
            if fault not in ("full disk", "unsigned"):
                answers = pull(client, wanted)
            time.sleep(0.3 if fault == "kill" else 0)
        if fault == "full disk":
            with process(stocked, cache, chance.randrange(1, 400_000)) as (_, client):
                answers = pull(client, wanted)
        if fault == "unsigned":
            with process(stocked, cache, signers=signers) as (_, client):
                answers = pull(client, wanted)
        if answers is None or fault == "kill":
            verdicts[fault, "the mirror was gone"] += 1
        else:
            verdicts[fault, "right" if judge(answers, fault) else "as a plain pull ends"] += 1
        stocked.hook = lambda request: False
        with process(stocked, cache) as (_, client):  # all content that is left in the cache must be right
            for tag in ("v1", "v2", "v3"):
                assert judge(pull(client, tag) or [], "nothing")
    print(*(f"{fault}: {verdict} {count}" for (fault, verdict), count in sorted(verdicts.items())), sep="\n")
    assert sum(count for (_, verdict), count in verdicts.items() if verdict == "right") > RUNS / 2
