"""A process that rebuilds layers ends at its time limit or space limit, and when its mirror ends."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dibundle.codecs.excess import Excess
from dibundle.errors import BundleError
from dibundle.sharing.mirror import making, worker
from dibundle.sharing.mirror.cache import CacheFullError
from dibundle.sharing.mirror.options import MirrorOptions, UpstreamPlace
from dibundle.sharing.mirror.planning import NoWayError
from dibundle.sharing.mirror.worker import Job, JobFailedError
from dibundle.sources.access import Access
from tests.mirror.conftest import Running, mirroring, with_options
from tests.mirror.test_hostile import eventually
from tests.sources.conftest import REPOSITORY
from tests.sources.server import Registry, digest

SAYS = "import sys, time; sys.stdin.buffer.read(10); print('{line}', flush=True); time.sleep(60)"


def a_job(tmp: Path) -> Job:
    return Job((), (), b"", {}, 0, 0, (), None, True, str(tmp))


def children() -> list[str]:
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def ended(job: Job, left: Callable[[], float], taken: Callable[[int], object] = lambda size: None) -> float:
    """Run a job to its end, and assert that its process has ended. Return how many seconds the job took."""
    begun, before = time.monotonic(), children()
    try:
        for layer in worker.run(job, left, taken):
            for _ in layer.pieces:
                pass
    finally:
        assert children() == before
    return time.monotonic() - begun


class OverError(Exception):
    """The exception that is raised if no time is left."""


def test_a_process_ends_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_START", SAYS.format(line='{"taken": 0}'))
    end = time.monotonic() + 0.5

    def left() -> float:
        if time.monotonic() > end:
            raise OverError
        return end - time.monotonic()

    with pytest.raises(OverError):
        ended(a_job(tmp_path), left)
    assert time.monotonic() < end + 5


def test_descriptors_may_be_high(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_START", SAYS.format(line="{}"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    many = [os.open(tmp_path, os.O_RDONLY) for _ in range(1100)]
    try:
        ended(a_job(tmp_path), lambda: 20.0)
    finally:
        for fd in many:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_ends_when_its_files_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_START", SAYS.format(line='{"taken": 5000000}'))

    def taken(size: int) -> None:
        assert size == 5_000_000
        raise CacheFullError

    with pytest.raises(CacheFullError):
        ended(a_job(tmp_path), lambda: 20.0, taken)


@pytest.mark.parametrize(
    ("code", "text"),
    [("", "ended early"), ("print(1.5, 2)", "no JSON"), ("while True: print(end='x' * 4096)", "no line")],
)
def test_a_process_that_fails_is_a_job_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, text: str
) -> None:
    monkeypatch.setattr(worker, "_START", code)
    with pytest.raises(JobFailedError, match=text):
        ended(a_job(tmp_path), lambda: 20.0)


def test_a_process_ends_with_the_mirror() -> None:
    code = "import threading, time; from dibundle.sharing.mirror.worker import _end_with_mirror as end; "
    code += "threading.Thread(target=end).start(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.close()
        assert process.wait(20) == 1


def test_a_process_has_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "bytearray(worker.MAX_MEMORY)"
    code = "import sys; sys.path[:] = sys.argv[1:]; from dibundle.sharing.mirror import worker; "
    monkeypatch.setattr(worker, "_START", f"{code}worker._work = lambda job, writer: {more}; worker.main()")
    with pytest.raises(JobFailedError, match="MemoryError"):
        ended(a_job(tmp_path), lambda: 20.0)


def test_one_registry_does_not_have_all_turns(
    options: MirrorOptions, access: Access, stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single registry cannot use all slots for rebuilds. The test checks that an image does not wait for two slow
    images of another registry.
    """
    run = worker.run

    def slow(job: Job, left: Callable[[], float], taken: Callable[[int], object]) -> object:
        if not job.names[0].startswith(stocked.host.replace("127.0.0.1", "localhost")):
            return run(job, left, taken)
        time.sleep(3)
        raise JobFailedError("slow")

    monkeypatch.setattr(making, "run", slow)
    other = stocked.host.replace("127.0.0.1", "localhost")
    upstreams = {"site": stocked.host, "slow": other}
    with mirroring(with_options(options, upstreams=upstreams), access) as mirror:
        for prefix in ("slow/", "site/"):
            mirror.client.prefix = prefix
            mirror.client.pull("v1")
        mirror.client.prefix = "slow/"
        for tag in ("v2", "v3"):
            assert mirror.client.manifest(tag).status == 200
        mirror.client.prefix = "site/"
        begun = time.monotonic()
        mirror.client.pull("v2")
        assert time.monotonic() - begun < 2.5
        assert eventually(lambda: any(line["way"] == "delta" for line in mirror.lines))


def test_one_repository_does_not_have_all_turns(mirror: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PATIENCE", 0.2)
    maker = mirror.mirror._maker
    (host,) = maker._pools

    def image(repository: str) -> making.Making:
        place = UpstreamPlace(host, repository, "space")
        return making.Making(place, bytes(32), frozenset())

    with maker._turn(image("evil/x")):
        with pytest.raises(NoWayError, match="first"), maker._turn(image("evil/x")):
            pass
        with maker._turn(image("good/app")):
            pass
    with maker._turn(image("evil/x")):
        pass


def test_a_large_config_is_not_fetched(mirror: Running, stocked: Registry) -> None:
    """A large config is not fetched, because a manifest may name any blob of its repository as the config."""
    client = mirror.client
    client.pull("v1")
    kind, body = stocked.manifests[REPOSITORY, "v2"]
    large = bytes(64 << 20)
    stocked.blobs[REPOSITORY, digest(large)] = large
    value = json.loads(body)
    value["config"]["digest"] = digest(large)
    odd = json.dumps(value).encode()
    for name in ("odd", digest(odd)):
        stocked.manifests[REPOSITORY, name] = kind, odd
    listed = stocked.manifests[REPOSITORY, digest(body).replace(":", "-")]
    stocked.manifests[REPOSITORY, digest(odd).replace(":", "-")] = listed
    client.pulls += 1
    assert client.manifest("odd").status == 200
    assert mirror.last()["way"] == "image"
    assert mirror.last()["reason"] == "the config does not fit"
    assert bytes.fromhex(digest(large)[7:]) not in {key[1] for key in mirror.mirror.cache._sizes}


def test_decoding_that_nobody_needs_ends() -> None:
    excess = Excess()
    excess.require()
    excess.end()
    with pytest.raises(BundleError):
        excess.require()


def test_the_process_inherits_only_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inherited = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(inherited, True)
    said = "{'failed': ' '.join(os.listdir('/proc/self/fd')), 'bundle': 0, 'applied': 0}"
    code = f"import json, os; print(json.dumps({said}))"
    monkeypatch.setattr(worker, "_START", code)
    try:
        with pytest.raises(JobFailedError) as found:
            ended(a_job(tmp_path), lambda: 20.0)
    finally:
        os.close(inherited)
    assert {int(fd) for fd in str(found.value).split()} <= {0, 1, 2, 3}
