"""The reference decoder (spec/decoder) in this process, for comparison with the C functions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from dibundle.codecs.deflate.encoders import KNOWN

SPEC = Path(__file__).parent.parent / "spec"
DECODER = SPEC / "decoder"


@cache
def decoder() -> SimpleNamespace:
    """Return the functions of the reference decoder that tests use, by name."""
    sys.path.append(str(SPEC))
    from decoder import command, profile
    from decoder.core import basics, codecs, manifest, vcdiff
    from decoder.encoders import encode
    from decoder.full import cover, model, relink_code, relink_fields, relink_map

    modules = (basics, codecs, manifest, vcdiff, encode, cover, model, relink_code, relink_fields, relink_map, profile)
    names = {name: value for module in (*modules, command) for name, value in vars(module).items()}
    return SimpleNamespace(**names)


def outcome(call: Callable[[], bytes]) -> bytes | None:
    """Return the result of a call of the reference decoder. Return None if the decoder refuses its input."""
    try:
        return call()
    except decoder().Refused:
        return None


def frame(codec: int, payload: bytes, source: bytes, size: int) -> bytes | None:
    """Decode a frame with the reference decoder. Return None if the decoder refuses the frame."""
    return outcome(lambda: decode_frame(codec, payload, source, size))


def decode_frame(codec: int, payload: bytes, source: bytes, size: int) -> bytes:
    """Decode a frame with the reference decoder; all re-encoders are allowed. Errors are raised."""
    bundle = decoder().Bundle(b"", encoders=sorted(KNOWN))
    made: bytes = decoder().decode_frame(codec, payload, size, source, bundle)
    return made
