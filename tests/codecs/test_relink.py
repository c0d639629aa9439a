import random
import time
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dibundle.codecs import cover, decoders, relink
from dibundle.codecs.encode import covers, layout, relinker
from dibundle.codecs.numbers import number
from dibundle.codecs.relink import CODE, DATA, HOLE, TABLE, AddressStep, Region
from dibundle.errors import BundleError
from tests import reference
from tests.codecs import programs

machines = pytest.mark.parametrize("machine", programs.MACHINES)


@machines
@given(seed=st.integers(0, 1 << 20), effort=st.sampled_from([5, 6, 9]))
@settings(max_examples=25, deadline=None)
def test_decode_undoes_encode(machine, seed, effort):
    source, target = programs.versions(machine, 30, 40, seed)
    payload = relinker.encode(source, target, effort=effort)
    assert payload is None or relink.decode(payload, source, len(target)) == target


@machines
def test_moved_code_costs_next_to_nothing(machine):
    source, target = programs.versions(machine, 900, 40, 5)
    payload = relinker.encode(source, target)
    plain = cover.encode(source, target, covers.find(source, target))
    assert payload is not None
    assert relink.decode(payload, source, len(target)) == target
    assert len(payload) < len(plain) * 0.7


@machines
def test_the_reference_decoder_makes_the_same(machine):
    source, target = programs.versions(machine, 60, 40, 8)
    payload = relinker.encode(source, target)
    assert payload is not None
    assert relink.decode(payload, source, len(target)) == target
    assert reference.frame(decoders.RELINK, payload, source, len(target)) == target


def test_several_programs_at_once():
    pairs = [programs.versions(machine, 40, 40, 3) for machine in (programs.X86_64, programs.AARCH64, programs.X86_64)]
    source, target = (b"some text".join(files) for files in zip(*pairs, strict=True))
    payload = relinker.encode(source, target)
    assert payload is not None
    assert relink.decode(payload, source, len(target)) == target


@machines
@pytest.mark.parametrize("count", [2, 5])
def test_stretches_with_the_plan_of_the_whole(machine, count):
    source, target = programs.versions(machine, 4000, 80, 5)
    plan = layout.plan(source, target)
    with_plan = without = 0
    for k in range(count):
        old = range(max(0, len(source) * k // count - 3001), min(len(source), len(source) * (k + 1) // count + 3001))
        new = range(len(target) * k // count, len(target) * (k + 1) // count)
        piece, wanted = source[old.start : old.stop], target[new.start : new.stop]
        plain = cover.encode(piece, wanted, covers.find(piece, wanted))
        window = plan.window(old, new)
        payload = relinker.encode(piece, wanted, plan=window) if window else plain
        if window:
            assert relink.decode(payload, piece, len(wanted)) == wanted
        with_plan += min(len(payload), len(plain))
        without += len(plain)
    assert with_plan < without * 0.8


def test_stretches_are_known_by_their_calls():
    source, target = programs.versions(programs.X86_64, 9000, 80, 5)
    cut = source[4096 : 4096 + (1 << 20)], target[4096 : 4096 + (1 << 20)]
    payload = relinker.encode(*cut)
    assert payload is not None
    assert relink.decode(payload, cut[0], 1 << 20) == cut[1]
    noise = random.Random(1).randbytes(1 << 20)
    assert relinker.encode(noise, noise[5:]) is None


def test_not_for_anything_else():
    source, target = programs.versions(programs.X86_64, 40, 40, 3)
    assert relinker.encode(b"text" * 1000, target) is None
    assert relinker.encode(source, b"text" * 1000) is None
    assert relinker.encode(source, source) is None
    for cut in range(0, 200, 7):
        relinker.encode(source[:cut], target)
    relinker.encode(source[:-100], target)


@st.composite
def tables(draw):
    """Generate random bytes with regions of every mode, and random steps."""
    size = draw(st.integers(0, 3000))
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    low = draw(st.sampled_from([0, 1000, 1 << 40, relink.MAX_ADDRESS - 6000]))
    data = bytearray(rng.randbytes(size))
    for _ in range(size // 12):
        at = rng.randrange(size)
        piece = rng.choice(
            [
                b"\xe8",
                b"\xbf",
                b"\x04\x25",
                b"\x0f\x84",
                b"\x48\x8d\x05",
                b"\x00\x00\x00\x94",
                b"\x01\x00\x00\xb0",
                b"\x20\0\x40\x91",
                b"\x97\x00\x00\x00\x03\x35\x85\x00",
                b"\x17\x15\x00\x00\x23\x30\x85\x06",
                b"\xef\x00\x40\x12",
                b"\x00\xf0\x12\xf8",
                b"\xff\xf7\x12\xea",
                b"\x01\x49\x79\x44",
                b"\xdf\xf8\x08\x90\xf9\x44",
            ]
        )
        word = rng.randrange(-3000, 3000) & 0xFFFFFFFF if rng.random() < 0.7 else low + rng.randrange(5000) & 0xFFFFFFFF
        data[at : at + len(piece)] = piece
        data[at + len(piece) : at + len(piece) + 4] = word.to_bytes(4, "little")
    del data[size:]
    regions, end = [], 0
    while end < size and len(regions) < 8:
        start = end + rng.choice([0, 0, 1, 7])
        length = rng.randrange(1, 700)
        end = start + length
        if end <= size:
            address = low + rng.randrange(4000)
            regions.append(Region(start, length, address, low + rng.randrange(4000), rng.randrange(15)))
    steps, at = [], low + rng.randrange(200)
    for _ in range(rng.randrange(1, 40)):
        steps.append(AddressStep(at, rng.randrange(-5000, 5000) * 4, rng.choice([HOLE, DATA, TABLE, CODE, CODE])))
        at += rng.randrange(1, 500)
    return bytes(data), regions, [step for step in steps if step.at <= relink.MAX_ADDRESS]


@st.composite
def derived(draw):
    """Generate frames, indexes of frames, words and relocations, as a linker might write them."""
    rng = random.Random(draw(st.integers(0, 1 << 30)))
    data, parts = bytearray(), []
    address = rng.choice([0x1000, (1 << 31) - 9000, (1 << 32) - 50, 1 << 40])

    def add(mode, content, base=0):
        parts.append(Region(len(data), len(content), address + len(data), base, mode))
        data.extend(content + bytes(rng.randrange(3)))

    for _ in range(rng.randrange(1, 4)):
        frames, end, table, records = address + len(data), rng.randrange(1 << 32), 0, bytearray()
        for _ in range(rng.randrange(0, 20)):
            here = frames + len(records)
            code = (end + 15 & ~15) + rng.choice([0, 0, 0, 4, 8191, 8192, -1])
            length, table = rng.randrange(500), table + rng.choice([20, 0, 9000])
            where = rng.choice([0, len(records) + 4, len(records) + 4])
            body = b"".join((n & 0xFFFFFFFF).to_bytes(4, "little") for n in (where, code - here - 8, length))
            body += bytes((rng.choice([4, 4, 0]),)) + (table - here - 17 & 0xFFFFFFFF).to_bytes(4, "little")
            body = body[: rng.choice([17, 17, 17, 16, 12, 8, 4])]
            records += len(body).to_bytes(4, "little") + body
            end = code + length
        add(relink.FRAMES, bytes(records) + bytes(4))
        for _ in range(rng.randrange(3)):
            away = frames - (address + len(data)) - 4 + rng.choice([0, 0, 0, 1])
            head = b"\1\x1b\3\x3b" + (away & 0xFFFFFFFF).to_bytes(4, "little") + bytes(4)
            add(relink.INDEX, head + rng.randbytes(rng.randrange(200)))
        words = address + len(data)
        add(rng.choice([relink.RAW, relink.POINTERS]), rng.randbytes(100))
        longs = []
        for _ in range(rng.randrange(10)):
            longs += [words + rng.randrange(-20, 100), rng.choice([8, 1027, 6]), rng.randrange(1 << 64)]
        add(relink.RELOCATIONS, b"".join((n % (1 << 64)).to_bytes(8, "little") for n in longs) + b"ab")
    return bytes(data), parts


@given(derived())
@settings(max_examples=300, deadline=None)
def test_what_follows_from_other_fields_is_taken_off_and_put_back(case):
    data, parts = case
    other = reference.decoder()
    for put_back in (False, True):
        mine, wanted = relink.derive(data, parts, put_back=put_back), bytearray(data)
        other.Derived(wanted, [other.Region(*part) for part in parts], put_back)
        assert mine == wanted
        assert relink.derive(mine, parts, put_back=not put_back) == data


def test_an_honest_index_frames_and_relocations_leave_next_to_nothing():
    def word(n):
        return (n & 0xFFFFFFFF).to_bytes(4, "little")

    count = 500
    frames, hdr = bytearray(), 0x400000
    for k in range(count):
        at = hdr + 12 + 8 * count + len(frames)
        frames += word(20) + word(len(frames) + 4) + word(0x1000 + 32 * k - at - 8) + word(25) + b"\4"
        frames += word(0x9000 + 40 * k - at - 17) + bytes(3)
    first = hdr + 12 + 8 * count
    pairs = b"".join(word(0x1000 + 32 * k - hdr) + word(first + 24 * k - hdr) for k in range(count))
    index = b"\1\x1b\3\x3b" + word(first - hdr - 4) + word(count) + pairs
    addends = [0x1000 + 7 * k for k in range(count)]
    words = b"".join(n.to_bytes(8, "little") for n in addends)
    rows = ((0x600000 + 8 * k, 8, n) for k, n in enumerate(addends))
    relocations = b"".join(n.to_bytes(8, "little") for row in rows for n in row)
    data, parts = b"", []
    for mode, address, content in (
        (relink.INDEX, hdr, index),
        (relink.FRAMES, first, bytes(frames)),
        (relink.POINTERS, 0x600000, words),
        (relink.RELOCATIONS, 0x700000, relocations),
    ):
        parts.append(Region(len(data), len(content), address, 0, mode))
        data += content
    taken = relink.derive(data, parts, put_back=False)
    pieces = [bytes(taken[part.start : part.start + part.length]) for part in parts]
    assert pieces[0] == index[:12] + bytes(8 * count)
    assert (
        pieces[1][48:]
        == (word(20) + word(0) + word(1 << 31) + word(25) + b"\4" + word((1 << 31) + 40) + bytes(3)) * 498
    )
    assert pieces[3][24:] == b"".join(n.to_bytes(8, "little") for n in (8, 8, 0)) * 499


def by_reference(data, regions, steps) -> bytes:
    other = reference.decoder()
    made: bytes = other.Relink(data, [other.Fixed(*step) for step in steps]).run([other.Region(*r) for r in regions])
    return made


@given(tables())
@settings(max_examples=300, deadline=None)
def test_relinked_as_by_the_reference_decoder(case):
    data, regions, steps = case
    assert relink.relink(data, regions, relink.columns(steps)) == by_reference(data, regions, steps)
    masked = relink.relink(data, regions, relink.columns(steps), mask=True)
    assert len(masked) == len(data)


@given(tables(), st.integers(1, 60), st.integers(0, 1 << 30))
@settings(max_examples=200, deadline=None)
def test_the_map_is_that_of_the_reference_decoder(case, least, seed):
    data, regions, steps = case
    rng = random.Random(seed)
    rows, at = array("q"), 0
    for _ in range(rng.randrange(0, 30)):
        length = rng.randrange(1, 300)
        if length <= len(data):
            rows.extend((rng.randrange(len(data) - length + 1), at, length))
            at += length + rng.choice([0, 0, 5])
    sections, end = [], 0
    for _ in range(rng.randrange(0, 5)):
        sections.append(Region(end, rng.randrange(1, 900), rng.randrange(9000), 0, rng.choice([0, 4, 5, 9])))
        end = sections[-1].start + sections[-1].length + rng.choice([0, 3])
    header = relink.RelinkHeader(least, regions, sections, steps)
    found = relink.steps_of(rows, header)
    other = reference.decoder()
    covers = [other.Piece(rows[k + 1], rows[k], rows[k + 2]) for k in range(0, len(rows), 3)]
    areas = [other.Region(*section) for section in sections]
    moves = other.without_overlaps(other.moves(covers, least, [other.Region(*region) for region in regions], areas))
    merged = other.merge_steps([other.Fixed(*step) for step in steps], moves)
    assert list(found) == [value for step in merged for value in (step.address, step.shift, step.kind)]
    assert all(a < b for a, b in zip(found[0::3], found[3::3], strict=False))
    relink._read(relink.write(header), len(data), end)


def outcome(payload, source, size):
    try:
        return relink.decode(payload, source, size)
    except BundleError:
        return None


def test_damage_is_refused_as_by_the_reference_decoder():
    source, target = programs.versions(programs.X86_64, 40, 30, 4)
    payload = relinker.encode(source, target)
    rng = random.Random(5)
    cases = [payload[:n] for n in range(0, len(payload), 61)] + [payload + b"\0"]
    for _ in range(60):
        broken = bytearray(payload)
        broken[rng.randrange(len(broken) if rng.random() < 0.3 else 300)] = rng.randrange(256)
        cases.append(bytes(broken))
    found = [outcome(case, source, len(target)) for case in cases]
    assert found == [reference.frame(decoders.RELINK, case, source, len(target)) for case in cases]
    assert found.count(None) > 30
    for other in (b"", source[:-1], bytes(len(source))):
        outcome(payload, other, len(target))


@given(st.binary(max_size=200), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_random_bytes_raise_bundle_error_alone(payload, size):
    outcome(payload, b"source" * 20, size)
    outcome(b"\x01" + payload, b"source" * 20, size)


@given(st.lists(st.integers(0, 1 << 62), min_size=19, max_size=19), st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_random_headers_take_no_memory(values, rest):
    outcome(b"\x01" + b"".join(map(number, values)) + rest, b"source" * 20, 100)


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        (relink.RelinkHeader(0, [], [], []), "minimum cover size of 0 bytes"),
        (relink.RelinkHeader(1, [Region(0, 0, 0, 0, 0)], [], []), "region of 0"),
        (relink.RelinkHeader(1, [Region(90, 11, 0, 0, 0)], [], []), "does not fit"),
        (relink.RelinkHeader(1, [Region(0, 5, 0, 0, 15)], [], []), "does not fit"),
        (relink.RelinkHeader(1, [Region(0, 5, -1, 0, 0)], [], []), "does not fit"),
        (relink.RelinkHeader(1, [Region(0, 5, relink.MAX_ADDRESS, 0, 0)], [], []), "does not fit"),
        (relink.RelinkHeader(1, [Region(k, 1, 0, 0, relink.TABLES) for k in range(17)], [], []), "jump tables"),
        (relink.RelinkHeader(1, [], [Region(0, 0, 0, 0, 0)], []), "region of 0"),
        (
            relink.RelinkHeader(1, [], [], [AddressStep(5, 0, 1), AddressStep(5, 0, 1)]),
            "step of .* at address 5 ",
        ),
        (relink.RelinkHeader(1, [], [], [AddressStep(5, relink.MAX_ADDRESS, 1)]), "step of .* at address 5 "),
        (relink.RelinkHeader(1, [], [], [AddressStep(5, 0, 4)]), "step of .* at address 5 "),
    ],
)
def test_headers_out_of_bounds_are_refused(header, wrong):
    with pytest.raises(BundleError, match=wrong):
        relink.decode(relink.write(header) + cover.encode(bytes(100), b"", covers.Covers()), bytes(100), 0)


def test_pointers_overwritten_by_other_data_tell_of_no_move():
    where = Region(0, 64, 0x1000, 0, relink.POINTERS)
    steps = [AddressStep(0x1000, 0, DATA), AddressStep(0x2000, 16, DATA), AddressStep(0x3000, 0, HOLE)]
    plan = layout.RelinkPlan(
        regions=[where],
        sections=[Region(0, 64, 0x1000, 0x1000, relink.RAW)],
        fixed=steps,
        first=relink.columns(steps),
        records=[],
        target_records=[],
        exact=(),
    )
    source = (0x2010).to_bytes(8, "little") * 8
    target = (0x7FFF << 48).to_bytes(8, "little") * 8
    made = layout.fixed_steps(plan, source, target, array("q", (0, 0, 64)))
    assert all(abs(step.shift) < relink.MAX_ADDRESS for step in made)


@pytest.mark.parametrize("mode", [relink.X86, relink.X86_FIXED, relink.POINTERS])
def test_steps_that_crowd_are_found(mode):
    """Steps are found even if all steps but a distant one share a bucket. Offsets between steps and after the last step
    are also tested.
    """
    chance = random.Random(mode)
    data = bytearray()
    # a call, an address and a pointer, each to a random place among the steps
    for place in range(48, 48 + 24 * 1000, 24):
        far, near, pointer = (chance.randrange(4000) for _ in range(3))
        data += b"\xe8" + (far - place - 5).to_bytes(4, "little", signed=True) + b"\0\xbb"
        data += near.to_bytes(4, "little") + bytes(5) + pointer.to_bytes(8, "little")
    at = 100
    steps = []
    for count in range(900):
        at += chance.choice((1, 1, 2, 9))
        steps.append(AddressStep(at, count * 8 - 3000, count % 4))
    regions = [Region(0, len(data), 48, 0, mode)]
    for some in (steps, [*steps, AddressStep(1 << 60, 0, HOLE)], steps[:31], steps[:33]):
        made = relink.relink(bytes(data), regions, relink.columns(some))
        assert made == by_reference(bytes(data), regions, some)
        assert made != data


def go_table(sizes, names):
    """Return a Go table of functions that have these sizes. Each function has a name and a 5-byte program."""
    name_table = b"".join(name + b"\0" for name in names)
    tables = [72, 72 + len(name_table)]
    tables += [tables[1] + 8, tables[1] + 16, tables[1] + 16 + 5 * len(sizes) + 1]
    head = b"\xf1\xff\xff\xff\0\0\1\x08" + b"".join(n.to_bytes(8, "little") for n in (len(sizes), 1, 0, *tables))
    entries, records, code, at = b"", b"", 0, 0
    for row, size in enumerate(sizes):
        entries += (code).to_bytes(4, "little") + (8 * len(sizes) + len(records)).to_bytes(4, "little")
        fields = (code, at, 8, 0, 1 + 5 * row, 2 + 5 * row, 3 + 5 * row, 1, 0, row, 0, 4 + 5 * row)
        records += b"".join(n.to_bytes(4, "little") for n in fields)
        code, at = code + size, at + len(names[row]) + 1
    programs_ = b"\0" + b"".join(bytes((row % 200 + 1, 2, row // 200 + 1, 4, 5)) for row in range(len(sizes)))
    return head + name_table + bytes(16) + programs_ + entries + records


def test_gos_table_of_functions_costs_what_changed_alone():
    rng = random.Random(4)
    sizes = [16 * rng.randrange(2, 30) for _ in range(900)]
    names = [b"main.f%d" % rng.randrange(1 << 40) for _ in sizes]
    code = [rng.randbytes(size) for size in sizes]
    files = []
    for grown in (0, 1):
        if grown:
            code[100] += bytes(32)
            names[100] += b"longer"
        table = go_table([len(part) for part in code], names)
        text = b"".join(code)
        files.append(
            programs._file(
                programs.X86_64,
                [(b".text", 1, 6, programs.TEXT, text), (b".gopclntab", 1, 2, programs.TEXT + 0x800000, table)],
            )
        )
    plan = layout.plan(*files)
    assert [region.mode for region in plan.regions] == [relink.X86, relink.GO]
    payload = relinker.encode(*files)
    assert relink.decode(payload, files[0], len(files[1])) == files[1]
    assert reference.frame(decoders.RELINK, payload, files[0], len(files[1])) == files[1]
    assert len(payload) < 400


def test_a_table_of_go_that_is_not_in_the_file_is_none():
    """If a section of Go's table has no bytes in the file, the table is ignored.

    In the test, the section is at the end of the file. The file's last bytes are the table's magic number.
    """
    magic = go_table([16], [b"main.f"])[:8]
    file = programs._file(
        programs.X86_64,
        [(b".text", 1, 6, programs.TEXT, bytes(64)), (b".gopclntab", 8, 2, programs.TEXT + 0x8000, bytes(4096))],
    )
    # the section's offset follows the section's address, which has 8 bytes
    place = file.index((programs.TEXT + 0x8000).to_bytes(8, "little")) + 8
    file = file[:place] + len(file).to_bytes(8, "little") + file[place + 8 :] + magic
    assert layout.plan(file, file[:-1] + b"\1") is None


def test_many_tables_of_go_take_no_time_by_their_square():
    table = go_table([16], [b"main.f"])
    tables = [(b".gopclntab", 1, 2, programs.TEXT + 0x8000 + 4096 * k, table) for k in range(4000)]
    files = [
        programs._file(programs.X86_64, [(b".text", 1, 6, programs.TEXT + 16 * moved, bytes(64)), *tables])
        for moved in (0, 1)
    ]
    begun = time.process_time()
    layout.plan(*files)
    assert time.process_time() - begun < 4
