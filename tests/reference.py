"""The reference decoder (spec/reference_decoder.py) in this process: what the C functions are compared with."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from dibundle.codecs.deflate.encoders import KNOWN

DECODER = Path(__file__).parent.parent / "spec" / "reference_decoder.py"


@cache
def decoder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_decoder", DECODER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_decoder"] = module
    spec.loader.exec_module(module)
    return module


def outcome(call: Callable[[], bytes]) -> bytes | None:
    """Return what a call of the reference decoder gives; None where it refuses."""
    try:
        return call()
    except decoder().Refused:
        return None


def frame(codec: int, payload: bytes, source: bytes, size: int) -> bytes | None:
    """Return what the reference decoder makes of a frame; None where it refuses it."""
    return outcome(lambda: decode_frame(codec, payload, source, size))


def decode_frame(codec: int, payload: bytes, source: bytes, size: int) -> bytes:
    """Return what the reference decoder makes of a frame of a bundle that lists all re-encoders; it may refuse it."""
    bundle = decoder().Bundle(b"", encoders=sorted(KNOWN))
    made: bytes = decoder().decode_frame(codec, payload, size, source, bundle)
    return made
