import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibundle.format.records import EMPTY, UNCHANGED, HeaderEdit, apply_edit, find_edit, read_number, valid_shape
from tests.builders import build_layer, file


def block(**changes: object) -> bytes:
    return build_layer([file(str(changes.get("path", "a/b")), b"x" * int(changes.get("size", 5)), mtime=1000)])[:512]


def test_an_mtime_that_changes_is_one_number_and_the_checksum_follows():
    old = block()
    new = build_layer([file("a/b", b"x" * 5, mtime=2_000_000)])[:512]
    edit = find_edit(old, new)
    assert edit == HeaderEdit(1 << 5, (2_000_000,))
    assert apply_edit(old, *edit) == new


def test_a_header_can_be_made_of_nothing():
    edit = find_edit(EMPTY, block())
    assert edit is not None
    assert apply_edit(EMPTY, *edit) == block()


def test_an_equal_block_costs_nothing():
    assert find_edit(block(), block()) is UNCHANGED


@pytest.mark.parametrize(
    ("field", "value"),
    [(b"0000644\0", 0o644), (b"   644 \0", 0o644), (b"\0" * 8, 0), (b"\x80" + bytes(6) + b"\x05", 5), (b"abc", None)],
)
def test_numbers_are_read_in_every_writing(field: bytes, value: int | None):
    assert read_number(field) == value


def test_a_negative_base_256_number_is_no_number():
    assert read_number(b"\xff" * 12) is None


@pytest.mark.parametrize("style", [b"0001750\0", b"  1750 \0", b"001750 \0", b"\0" * 8])
def test_a_number_keeps_the_writing_of_its_reference(style: bytes):
    old = bytearray(block())
    old[108:116] = style
    old[148:156] = b"%06o\0 " % (sum(old[:148]) + sum(old[156:]) + 256)
    edit = HeaderEdit(1 << 2, (0o17,))
    made = apply_edit(bytes(old), *edit)
    assert made is not None
    assert read_number(made[108:116]) == 0o17
    assert len(made) == 512
    assert find_edit(bytes(old), made) == edit


@given(st.binary(min_size=512, max_size=512), st.binary(min_size=512, max_size=512))
def test_any_block_is_made_of_any_other_unless_its_size_cannot_be_written(old: bytes, new: bytes):
    edit = find_edit(old, new)
    if edit is not None:
        assert apply_edit(old, *edit) == new
        assert valid_shape(edit.shape)


@given(st.binary(min_size=512, max_size=512), st.dictionaries(st.integers(0, 511), st.integers(0, 255), max_size=20))
def test_edits_survive_small_changes(old: bytes, changes: dict[int, int]):
    new = bytearray(old)
    for place, byte in changes.items():
        new[place] = byte
    edit = find_edit(old, bytes(new))
    if edit is not None:
        assert apply_edit(old, *edit) == new
    else:
        assert old[124:136] != new[124:136]
