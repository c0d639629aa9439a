"""Errors for a base object that cannot be read. Each error says whether the base or the bundle is at fault."""

from __future__ import annotations

import errno
import os

import pytest

from dibundle.applying.base_store import BaseObjects, Wanted
from dibundle.errors import BaseMismatchError, FileError
from dibundle.files.readat import FileBytes


def objects(source) -> BaseObjects:
    served = BaseObjects([Wanted(bytes(32), 2000)])
    served._sources[0] = source
    return served


CALLS = [
    lambda served: served.read(0, 1000, 1000),
    lambda served: served.read_into(0, 1000, memoryview(bytearray(1000))),
    lambda served: served.nearby(0, 1000, 1000),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_base_that_ends_early_is_to_blame(call, tmp_path) -> None:
    (tmp_path / "a").write_bytes(bytes(2000))
    with (tmp_path / "a").open("r+b") as file:
        served = objects(FileBytes(file.fileno(), "a.tar", owned=False))
        file.truncate(1500)
        with pytest.raises(BaseMismatchError, match="base cannot be read"):
            call(served)


@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fails_is_no_fault_of_the_base(call, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "a").write_bytes(bytes(2000))
    with (tmp_path / "a").open("rb") as file:
        served = objects(FileBytes(file.fileno(), "a.tar", owned=False))
        monkeypatch.setattr(os, "pread", fails)
        monkeypatch.setattr(os, "preadv", fails)
        with pytest.raises(FileError, match=r"cannot read a\.tar: Input/output error"):
            call(served)
