import os
import subprocess
import sys
from array import array

import pytest

from dibundle.native.library import ABI, LIBRARY, Pinned


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_switched_off_by_the_environment():
    code = "from dibundle.native.library import LIBRARY; print(LIBRARY)"
    assert run(code, DIB_NATIVE="off") == "None"


def test_abi_of_what_was_built():
    if LIBRARY is not None:
        assert LIBRARY.dib_abi() == ABI


def test_pinned_takes_every_kind_of_buffer():
    for data in (
        b"",
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abcdef")[1:4],
        memoryview(bytearray(8))[2:6],
        bytearray(),
    ):
        pinned = Pinned(data)
        assert pinned.size == len(data)
        assert pinned.address or not len(data)
    assert Pinned(memoryview(b"abcdef")[::2]).size == 3


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(bytearray()), array("q")])
def test_an_empty_buffer_has_an_address(empty) -> None:
    """C may not add anything to a null pointer, not even 0."""
    pinned = Pinned(empty)
    assert pinned.size == 0
    assert pinned.address
