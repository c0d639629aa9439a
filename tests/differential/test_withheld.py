"""A failed load leaves nothing in any engine, no matter where in the archive the fault is."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import pytest

from dibundle.applying.expected import UnexpectedError
from dibundle.applying.loading import LoadOptions, load
from dibundle.errors import DigestError
from dibundle.files.context import Context
from dibundle.files.digest import sha256
from dibundle.format import writer
from dibundle.sources.access import Access
from tests.differential.archives import STYLES, Raw, draft
from tests.differential.check import bundle_for, written_for
from tests.differential.loaders import Loader, environment, loaders

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def programs() -> Iterator[list[Loader]]:
    with loaders() as started:
        yield [program for program in started if isinstance(program, Loader)]


def broken_at_the_end(archive: bytes) -> bytes:
    """Return a bundle for an archive. The bundle's last digest is wrong, and dib withholds only the archive's last
    byte.
    """
    reader = bundle_for(archive, bytes(32))
    (target,) = reader.manifest.targets
    frames = [reader.frame()[1] for _ in reader.manifest.frames]
    target = target._replace(rest_digest=sha256(b"another"))
    return b"".join(writer.write(dataclasses.replace(reader.manifest, targets=(target,)), frames))


@pytest.mark.parametrize("junk", [b"", b"j" * 5000], ids=["whole", "with junk behind it"])
@pytest.mark.parametrize("style", STYLES)
def test_nothing_is_loaded_of_what_is_damaged(style, junk: bytes, programs: list[Loader]) -> None:
    for number, program in enumerate(programs):
        archive = draft(90_000 + number, style).build() + junk
        bundle = io.BytesIO(broken_at_the_end(archive))
        how = LoadOptions(engine=program.engine.dib_name)
        with environment(program.env), Context() as context, pytest.raises(DigestError):
            load([bundle], how, Access(), context)
        assert program.found(7).configs == frozenset(), program.name


def test_what_a_bundle_claims_is_compared_where_readers_may_differ_too(programs: list[Loader]) -> None:
    """dib checks the image that a bundle claims, even if programs may find different images in a target.

    If two images have the same layers, Docker's containerd store and ctr can mistake one image for the other.
    """
    for number, program in enumerate(programs):
        made = draft(91_000 + number, "v25")
        made.members.append(Raw("x~1", b""))
        bundle = io.BytesIO(written_for(made.build(), sha256(made.evil.config_bytes())))
        how = LoadOptions(engine=program.engine.dib_name)
        with environment(program.env), Context() as context, pytest.raises(UnexpectedError):
            load([bundle], how, Access(), context)
        assert program.found(7).configs == frozenset(), program.name
