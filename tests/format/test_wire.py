import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dibundle.errors import BundleError
from dibundle.format.wire import Column, ColumnWriter, Structure, pack


@given(st.lists(st.integers(0, 2**63 - 1)))
def test_columns_come_back(values: list[int]):
    column = Column(bytes(ColumnWriter(values).data))
    assert [column.next() for _ in values] == values
    column.end()


@given(st.lists(st.integers(-(2**62), 2**62 - 1)))
def test_signed_columns_come_back(values: list[int]):
    writer = ColumnWriter()
    for value in values:
        writer.add_signed(value)
    column = Column(bytes(writer.data))
    assert [column.signed() for _ in values] == values


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x00", b"\xff" * 10, b"\xff" * 9 + b"\x01"])
def test_bad_numbers_are_refused(data: bytes):
    with pytest.raises(BundleError):
        Column(data).next()


def test_numbers_left_over_are_refused():
    with pytest.raises(BundleError, match="more numbers than are used"):
        Column(b"\x01").end()


@given(st.binary(max_size=80))
def test_structures_raise_nothing_but_bundle_errors(data: bytes):
    reader = Structure(data, "test")
    try:
        for _ in range(reader.array("things", maximum=10)):
            reader.integer("number")
            reader.blob("blob")
            reader.text("text")
        reader.end()
    except BundleError:
        return
    assert pack(msgpack.unpackb(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"\xcc\x05",
        b"\xcd\x00\xff",
        b"\xce\x00\x00\xff\xff",
        b"\xff",
        b"\xd0\x05",
        b"\xc0",
        b"\xca\x00\x00\x00\x00",
        b"\x90",
        b"",
    ],
)
def test_integers_have_one_form(data: bytes):
    with pytest.raises(BundleError):
        Structure(data, "test").integer("number")


@pytest.mark.parametrize("data", [b"\xc5\x00\x01a", b"\xc4\x05ab", b"\xa1a", b"\xc6\xff\xff\xff\xff"])
def test_byte_strings_have_one_form(data: bytes):
    with pytest.raises(BundleError):
        Structure(data, "test").blob("blob")


@pytest.mark.parametrize("data", [b"\xdc\x00\x01\x01", b"\xdd\xff\xff\xff\xff", b"\x9f", b"\x81\x01\x01"])
def test_arrays_have_one_form(data: bytes):
    reader = Structure(data, "test")
    with pytest.raises(BundleError):
        reader.array("things", maximum=3)
