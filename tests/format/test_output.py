"""Outputs when a target is wrong. An output never ends where an entry of a tar could end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from dibundle.errors import DigestError
from dibundle.format.output import LARGE, WRITE, VerifiedOutput
from dibundle.format.tables import Segment
from dibundle.format.values import Target
from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import dib, start


def _target(content: bytes, tail: int, rest: bytes | None = None) -> Target:
    digest = hashlib.sha256(content).digest()
    return Target(
        size=len(content),
        digest=digest,
        rest_digest=rest or digest,
        tail=tail,
        frames=0,
        segments=(Segment(len(content), b""),),
        columns=(),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("size", "piece"),
    [
        *[(10240, piece) for piece in (1, 511, 512, 513, 4096)],
        *[(size, piece) for size in (WRITE + 1024, 3 * WRITE) for piece in (511, 512, 513, LARGE, LARGE + 1, WRITE)],
    ],
)
@pytest.mark.parametrize("held", [1, 511, 512, 513, 1024, 10239, 10240])
def test_a_target_with_a_wrong_digest_never_ends_between_blocks(size: int, piece: int, held: int) -> None:
    content, out, ends = noise(1, size), bytearray(), set()

    def sink(data: bytes) -> None:
        out.extend(data)
        ends.add(len(out))

    output = VerifiedOutput(_target(content, size - held, bytes(32)), sink, has_base=False)
    with contextlib.closing(output):
        for at in range(0, size, piece):
            output.write(content[at : at + piece])
        with pytest.raises(DigestError):
            output.finish()
    assert not any(end % 512 == 0 for end in ends)
    assert len(out) <= size - held
    assert content.startswith(out)


@pytest.mark.parametrize("held", [1, 512, 1024, 10240])
def test_a_right_target_comes_whole(held: int) -> None:
    content, out = noise(1, 2 * WRITE + 512), bytearray()
    output = VerifiedOutput(_target(content, len(content) - held), out.extend)
    output.write(content)
    output.finish()
    assert out == content


def test_a_write_that_is_interrupted_does_not_end_between_blocks(tmp_path: Path) -> None:
    """An interrupted output does not end between tar blocks. This includes a pipe, which takes only whole pages."""
    target = tmp_path / "new.tar"
    bundle = tmp_path / "new.dib"
    target.write_bytes(docker_save([TestImage([build_layer([file("a", noise(1, 8 << 20))])], ["app:1"])]))
    assert dib("create", "-1", "--no-base", target, bundle).code == 0
    for _ in range(3):
        with start("apply", bundle, stdout=subprocess.PIPE) as process:
            assert process.stdout
            taken = os.read(process.stdout.fileno(), 65536)  # apply fills the pipe again at once
            process.send_signal(signal.SIGTERM)
            taken += process.stdout.read()
        assert process.returncode != 0
        assert len(taken) % 512
