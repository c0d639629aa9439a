import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import cover, decoders, model, sparse, streams
from dibundle.codecs.encode import anchors
from dibundle.codecs.encode.covers import Cover, Covers, find
from dibundle.codecs.numbers import number
from dibundle.errors import BundleError
from tests import reference
from tests.codecs.mutate import code_like, edits


def check(source: bytes, target: bytes, covers: Covers, effort: int) -> bytes:
    payload = cover.encode(source, target, covers, effort=effort)
    assert cover.decode(payload, source, len(target)) == target
    return payload


@given(edits(), st.sampled_from([1, 6, 9]))
@settings(max_examples=60, deadline=None)
def test_decode_undoes_encode(pair, effort):
    source, target = pair
    check(source, target, find(source, target), effort)


@given(edits(), st.data())
@settings(max_examples=40, deadline=None)
def test_any_covers_will_do(pair, data):
    source, target = pair
    rows, at = [], 0
    while source and at < len(target) and len(rows) < 6:
        at += data.draw(st.integers(0, len(target) - at))
        length = data.draw(st.integers(0, min(len(source), len(target) - at)))
        if length:
            rows.append((data.draw(st.integers(0, len(source) - length)), at, length))
        at += length + 1
    check(source, target, Covers.of(rows), 6)


def test_find_gives_covers_that_fit_and_are_mostly_equal():
    source = code_like(40_000)
    target = source[:9000] + b"inserted" + source[9000:30_000] + source[2000:2600]
    covers = find(source, target)
    covers.check(len(source), len(target))
    assert sum(c.length for c in covers) > 29_000
    assert Cover(0, 0, 9000) in [Cover(c.source, c.target, min(c.length, 9000)) for c in covers]
    assert len(find(b"", target)) == len(find(source, b"")) == 0


def test_covers_that_do_not_fit_are_refused():
    for rows in ([(0, 0, 0)], [(0, 0, 11)], [(-1, 0, 2)], [(0, 5, 3), (0, 7, 1)], [(0, 18, 4)]):
        with pytest.raises(ValueError, match="cover"):
            cover.encode(bytes(10), bytes(20), Covers.of(rows))


def test_too_many_covers_are_cut_down_and_refused(monkeypatch):
    source, target = bytes(range(200)), bytes(range(200))
    covers = Covers.of([(0, 0, 5), (5, 5, 90), (100, 100, 3), (103, 103, 60)])
    whole = cover.encode(source, target, covers)
    monkeypatch.setattr(cover, "MAX_COVERS", 2)
    assert cover.decode(cover.encode(source, target, covers), source, 200) == target
    assert list(covers.longest(2)) == [(5, 5, 90), (103, 103, 60)]
    with pytest.raises(BundleError, match="4 covers, at most 2"):
        cover.decode(whole, source, 200)


def test_the_reference_decoder_makes_the_same():
    source = code_like(12_000)
    target = bytearray(source[:5000] + source[5100:])
    for at in range(40, len(target) - 4, 97):
        target[at : at + 4] = (int.from_bytes(target[at : at + 4], "little") + 4096 & 0xFFFFFFFF).to_bytes(4, "little")
    covers = find(source, bytes(target))
    for effort in (6, 7, 9):
        payload = check(source, bytes(target), covers, effort)
        assert cover.MODEL in payload[:60]
        assert reference.frame(decoders.COVER, payload, source, len(target)) == target


@pytest.mark.parametrize("bits", [10, 13])
def test_the_model_at_its_limits(bits):
    rng = random.Random(7)
    source = rng.randbytes(3000)
    rows = Covers.of([(0, 0, 1), (2999, 1, 1), (1, 2, 2998), (5, 3000, 7)])
    difference = bytes(rng.choice([0, 0, 0, 1, 255]) for _ in range(3007))
    flat = cover.flat(rows)
    stream = model.encode(source, flat, difference, bits=bits)
    back = bytearray(len(difference))
    model.decode(stream, source, flat, memoryview(back), bits=bits)
    assert back == difference
    pieces = [reference.decoder().Piece(c.target, c.source, c.length) for c in rows]
    assert reference.decoder().Model(bytes([bits]) + stream, source).run(pieces) == difference


def test_what_is_always_the_same_costs_next_to_nothing():
    """Constant content of any length takes few bytes. Before the fix, sums of weights overflowed, and the result was
    five times as large.
    """
    chance = random.Random(1)
    words = [chance.randrange(1 << 20) for _ in range(1 << 20)]
    source = b"".join(word.to_bytes(8, "little") for word in words)
    target = b"".join((word + 0x1000).to_bytes(8, "little") for word in words)
    difference = bytearray((new - old) % 256 for new, old in zip(target, source, strict=True))
    stream = model.encode(source, array("q", (0, 0, len(source))), difference, bits=14)
    back = bytearray(len(difference))
    model.decode(stream, source, array("q", (0, 0, len(source))), memoryview(back), bits=14)
    assert back == difference
    assert len(stream) < 2000


def test_an_empty_stream_is_stored():
    assert streams.unpack(streams.STORED, b"", 0) == b""
    for packer, stored in ((0, b"x"), (1, streams.zstd.compress(b"", 3)), (2, b"\0")):
        with pytest.raises(BundleError):
            streams.unpack(packer, stored, 0)


def sample(effort: int = 6) -> tuple[bytes, bytes, bytes]:
    source = code_like(6000)
    target = bytearray(source[:2500] + b"something that is new here" + source[2600:])
    for at in range(11, len(target), 37):
        target[at] ^= 0x55
    covers = find(source, bytes(target))
    return source, bytes(target), cover.encode(source, bytes(target), covers, effort=effort)


def outcome(payload: bytes, source: bytes, size: int) -> bytes | None:
    try:
        return cover.decode(payload, source, size)
    except BundleError:
        return None


def test_damage_is_refused_as_by_the_reference_decoder():
    source, target, payload = sample()
    rng = random.Random(5)
    cases = [payload[:n] for n in range(0, len(payload), 41)] + [payload + b"\0"]
    for _ in range(60):
        broken = bytearray(payload)
        broken[rng.randrange(len(broken) if rng.random() < 0.5 else 30)] = rng.randrange(256)
        cases.append(bytes(broken))
    found = [outcome(case, source, len(target)) for case in cases]
    assert found == [reference.frame(decoders.COVER, case, source, len(target)) for case in cases]
    assert found.count(None) > 30


@given(st.binary(max_size=200), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_random_bytes_raise_bundle_error_alone(payload, size):
    outcome(payload, b"source" * 20, size)


@given(st.lists(st.integers(0, 1 << 62), min_size=15, max_size=15), st.binary(max_size=40), st.integers(0, 1 << 40))
@settings(max_examples=300, deadline=None)
def test_random_headers_take_no_memory(values, rest, size):
    payload = b"".join(map(number, values)) + rest
    outcome(payload, b"source" * 20, size)


def test_wrong_target_size_is_refused():
    source, target, payload = sample()
    for size in (0, len(target) - 1, len(target) + 1, 1 << 50):
        with pytest.raises(BundleError):
            cover.decode(payload, source, size)


def test_wrong_source_gives_other_bytes_or_an_error_but_no_crash():
    source, target, payload = sample()
    for other in (b"", source[:-1], bytes(len(source)), source + b"x"):
        result = outcome(payload, other, len(target))
        assert result is None or len(result) == len(target)


@pytest.mark.parametrize("data", [b"x", b"abc" * 500, bytes(70_000), random.Random(1).randbytes(5000)])
def test_streams_are_strict(data):
    packed = {
        streams.STORED: data,
        streams.ZSTD: streams.zstd.compress(data, 19),
        streams.LZMA2: streams._lzma2(data, 3, 0, 2),
    }
    for packer, stored in packed.items():
        assert streams.unpack(packer, stored, len(data)) == data
        for wrong in (stored + b"\0", stored[:-1] if stored else b"\1"):
            with pytest.raises(BundleError):
                streams.unpack(packer, wrong, len(data))
        for size in (len(data) + 1, max(0, len(data) - 1)):
            if size != len(data):
                with pytest.raises(BundleError):
                    streams.unpack(packer, stored, size)
    with pytest.raises(BundleError, match="unknown stream packer 9"):
        streams.unpack(9, data, len(data))


def joined(parts, size):
    data = bytearray(size)
    sparse.join(*parts, memoryview(data))
    return data


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=200)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_sparse_differences_come_back(parts):
    data = b"".join(bytes(gap) + run for gap, run in parts)
    assert joined(sparse.split(data), len(data)) == data
    back = bytearray(len(data))
    packed = sparse.pack(data, level=3, literal_bits=())
    sparse.unpack(packed, memoryview(back))
    assert back == data == reference.decoder().sparse(packed, len(data))


@given(st.lists(st.binary(max_size=12), min_size=3, max_size=3), st.integers(0, 300))
@settings(max_examples=300, deadline=None)
def test_sparse_streams_that_do_not_fit_are_refused(parts, size):
    def outcome_of():
        try:
            return joined(parts, size)
        except BundleError:
            return None

    head = b"".join(b"\0" + 2 * number(len(part)) for part in parts)
    assert outcome_of() == reference.outcome(lambda: reference.decoder().sparse(head + b"".join(parts), size))


def test_large_differences_are_sparse_at_the_fastest_efforts():
    source = random.Random(2).randbytes(1 << 10) * 1100
    target = bytearray(source)
    target[::4001] = bytes(byte + 1 & 255 for byte in target[::4001])
    covers, size = Covers.of([(0, 0, len(source))]), len(source)
    packers = [
        cover.parse(check(source, bytes(target), covers, effort), size, size).headers[0][0]
        for effort in (1, 2, 3, 6, 9)
    ]
    assert packers == [cover.SPARSE, cover.SPARSE, cover.MODEL, cover.MODEL, cover.MODEL]


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 400), st.binary(max_size=9)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_anchors_are_equal_stretches_that_bridges_join(parts):
    source = random.Random(5).randbytes(1000) + bytes(400)
    target = b"".join(source[at : at + length] + new for at, length, new in parts)
    for stride in (4, 16):
        rows = anchors.find(source, target, stride=stride)
        for at in range(0, len(rows), 3):
            old, new, length = rows[at : at + 3]
            assert source[old : old + length] == target[new : new + length]
        joined = anchors.bridged(rows, most=4096)
        Covers.of(zip(joined[0::3], joined[1::3], joined[2::3], strict=True)).check(len(source), len(target))
        assert sum(joined[2::3]) >= sum(rows[2::3])


@given(st.lists(st.tuples(st.integers(0, 1900), st.integers(0, 40), st.integers(1, 60)), max_size=20))
@settings(max_examples=100, deadline=None)
def test_the_context_of_literals(parts):
    source = random.Random(8).randbytes(2000)
    rows, target = [], 0
    for start, gap, length in parts:
        rows.append((start, target + gap, length))
        target += gap + length
    flat = cover.flat(Covers.of(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cover, "MAX_CONTEXT", 5000)
        patch.setattr("decoder.full.cover.MiB", 5000 // 8)
        other = object.__new__(reference.decoder().Cover)
        other.covers = [reference.decoder().Piece(place, start, length) for start, place, length in rows]
        assert cover.context(source, flat) == other.context(source)


def test_literals_like_their_surroundings_are_packed_with_them():
    lines = [b"    assert value(%d) == expected[%d], message_%d\n" % (n * n % 977, n, n % 13) for n in range(3000)]
    source = b"".join(lines)
    target = b"".join(lines[:1000] + [line.replace(b"assert", b"if not") for line in lines[1000:1020]] + lines[1020:])
    payload = check(source, target, find(source, target), 6)
    assert len(payload) < 700
