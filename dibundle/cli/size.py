"""Options whose values are sizes: 65536, 20M, 4700MB."""

from __future__ import annotations

import re
from typing import Final

from dibundle.cli import messages
from dibundle.errors import UsageError

_SIZE: Final = re.compile(r"([0-9]{1,15})(?:B?|([KMGT])(B|IB)?)")
_POWERS: Final = {None: 0, "K": 1, "M": 2, "G": 3, "T": 4}


def read_size(text: str | int) -> int:
    """Return the number of bytes. click uses this function as the type of options for sizes.

    The units are the same as in coreutils: M and MiB are 2**20 bytes, MB is 10**6 bytes. K, G and T work in the same
    way.
    """
    found = _SIZE.fullmatch(str(text).upper())
    if not found:
        raise UsageError(messages.OPTION_SIZE, found=text)
    size = int(found[1])
    for _ in range(_POWERS[found[2]]):
        size *= 1000 if found[3] == "B" else 1024
    return size
