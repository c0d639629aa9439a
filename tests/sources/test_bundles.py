"""The cost of checking the headers and signatures of bundles, in every kind of source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dibundle.errors import BundleError, SignatureError
from dibundle.files.context import Context
from dibundle.files.readat import Spool
from dibundle.format import messages
from dibundle.format.constants import MAX_SIGNATURE
from dibundle.format.header import encode_signature_area
from dibundle.format.signing import Signers
from dibundle.sources.access import Access
from dibundle.sources.bundles import Pieces, check_signature, fetch_bundle
from dibundle.sources.opening import MAX_COPIES, MAX_WRAPPED, open_sources
from tests.bounds.test_source_bounds import bundle_of, wrapped
from tests.pairs import Pair
from tests.sources.conftest import Files

GOOD = b"good"


def test_a_signature_that_trickles_takes_no_quadratic_time(files: Files):
    """A signature that arrives byte by byte takes linear time.

    Before the fix, such a signature took 15 s, because each new byte caused a copy of all earlier bytes.
    """
    header = files.bundle(1, 2).read_bytes()[:64]
    area = encode_signature_area(bytes(MAX_SIGNATURE))
    given = []
    stream = Pieces(bytes([byte]) for byte in header + area)
    start = time.process_time()
    check_signature(stream, None, lambda *pair: given.append(pair))
    assert time.process_time() - start < 5
    assert given == [(header, bytes(MAX_SIGNATURE))]
    assert stream.read(len(header)) == header


def test_a_refused_signature_ends_it(files: Files):
    def refuse(header: bytes, signature: bytes) -> None:
        raise ValueError(len(signature))

    with pytest.raises(ValueError, match="0"):
        check_signature(Pieces([files.bundle(1, 2).read_bytes()]), None, refuse)


def signed(bundle: bytes, signature: bytes) -> bytes:
    """Add a signature to an unsigned bundle. Return the result."""
    return bundle[:64] + encode_signature_area(signature) + bundle[64 + len(encode_signature_area(b"")) :]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that collects each header that ssh-keygen gets.

    A stand-in for ssh-keygen accepts signatures that begin with ``GOOD``.
    """
    found: list[bytes] = []

    def check(self: Signers, header: bytes, signature: bytes) -> str:
        found.append(header)
        if not signature.startswith(GOOD):
            raise SignatureError(messages.SIGNATURE_MISSING)
        return "somebody"

    monkeypatch.setattr(Signers, "check", check)
    return found


def opened(archive: Path, bundles: list[bytes]) -> tuple[str, ...]:
    archive.write_bytes(wrapped(bundles))
    with Context() as context:
        found = open_sources([str(archive)], Access(signers=Signers(allowed="none")), context)
        return found.signatures.signed_by(found.read_bundles())


def test_a_header_that_is_trusted_is_not_asked_about_again(asked: list[bytes], tmp_path: Path):
    """Before the fix, each copy with a different signature started ssh-keygen, and 3,000 copies took 42 s."""
    copies = [signed(bundle_of(1), GOOD + b" " * number) for number in range(30)]
    assert opened(tmp_path / "many.tar", [*copies, signed(bundle_of(1), b"anything")]) == ("somebody",)
    assert len(asked) == 1


def test_a_header_is_not_trusted_by_a_copy_that_is_refused(asked: list[bytes], tmp_path: Path):
    copies = [signed(bundle_of(1), b"bad %d" % number) for number in range(30)]
    with pytest.raises(SignatureError):
        opened(tmp_path / "many.tar", [*copies, signed(bundle_of(1), GOOD)])
    assert len(asked) == 1  # the first refusal ends the search


def test_different_bundles_in_an_archive_are_bounded(asked: list[bytes], tmp_path: Path):
    bundles = [signed(bundle_of(1, 512 * row), GOOD) for row in range(1, MAX_WRAPPED + 2)]
    opened(tmp_path / "most.tar", bundles[1:])
    assert len(asked) == MAX_WRAPPED
    asked.clear()
    with pytest.raises(BundleError, match="too many bundles") as error:
        opened(tmp_path / "many.tar", bundles)
    assert error.value.code == "limit.wrapped_bundles"
    assert len(asked) == MAX_WRAPPED


def test_copies_of_a_bundle_in_an_archive_are_bounded(asked: list[bytes], tmp_path: Path):
    """Before the fix, 1,500 equal copies took 54 s, because dib unpacked each copy before it compared the copies."""
    copies = [signed(bundle_of(1), GOOD + b" " * number) for number in range(MAX_COPIES + 1)]
    assert opened(tmp_path / "most.tar", copies[1:]) == ("somebody",)
    with pytest.raises(BundleError) as error:
        opened(tmp_path / "many.tar", copies)
    assert error.value.code == "limit.wrapped_bundles"


def test_what_a_registry_sends_behind_a_bundle_is_not_kept(pair: Pair, tmp_path: Path) -> None:
    """Bytes that a registry sends after the end of a bundle are not kept.

    A registry's descriptor may declare any size, but the bundle's header has the actual size.
    """
    data = pair.bundle.read_bytes()
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        yield data
        for _ in range(100):
            sent += 1
            yield bytes(1 << 20)

    with closing(Spool(str(tmp_path))) as spool:
        with pytest.raises(BundleError, match="bytes follow its last frame"):
            fetch_bundle(pieces(), len(data) + (100 << 20), "docker://x/y:1", spool, None)
        assert (sent, spool.size) == (0, 0)
        fetch_bundle(iter([data[:100], data[100:]]), len(data), "docker://x/y:1", spool, None)
        assert spool.read_at(0, spool.size) == data
