"""How to make a body again: an encoder, and the bits in which the body differs from what the encoder gives.

``find`` decodes a body and lets every candidate encode what comes out, side by side; ``rebuild`` is the way back. Both
stream. A place where a body differs costs about the blocks around it, as body and encoder are compared again from
the next content at which both start a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from dibundle.codecs import messages, reencoders
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.codecs.reencoders import AnyEncoder
from dibundle.errors import BundleError

_SLICE: Final = 1 << 20  # content given to the encoder at a time
_NUMBER_LIMIT: Final = 1 << 62


class RecipeEdit(NamedTuple):
    """Copy ``copied`` bits of the encoder's output, leave ``dropped`` out and put ``added`` bits of ``literals`` there.

    The lowest bit of a byte comes first, as in deflate; the bits of the last byte beyond ``added`` are 0.
    """

    copied: int
    dropped: int
    added: int
    literals: bytes


class Recipe(NamedTuple):
    """A body is the encoder's output with these edits made one after the other; what follows the last is copied."""

    encoder: int
    level: int
    parameter: int
    edits: tuple[RecipeEdit, ...] = ()

    @property
    def literal_bytes(self) -> int:
        """How many bytes all literals take."""
        return sum(len(edit.literals) for edit in self.edits)

    def check(self) -> None:
        """``BundleError`` unless the encoder is known and every number makes sense by itself."""
        reencoders.check(self.encoder, self.level, self.parameter)
        for number, edit in enumerate(self.edits):
            where = f"edit {number} of a compressed layer"
            if not all(0 <= bits < _NUMBER_LIMIT for bits in (edit.copied, edit.dropped, edit.added)):
                raise BundleError(messages.RECIPE_BITS_OUT_OF_RANGE, where=where)
            if number and not edit.copied:
                raise BundleError(messages.RECIPE_EDITS_ADJACENT, where=where)
            if not edit.dropped and not edit.added:
                raise BundleError(messages.RECIPE_EDIT_WITHOUT_EFFECT, where=where)
            if len(edit.literals) != (edit.added + 7) // 8:
                raise BundleError(
                    messages.RECIPE_LITERAL_BYTES, where=where, literals_count=len(edit.literals), count=edit.added
                )
            if edit.added % 8 and edit.literals[-1] >> edit.added % 8:
                raise BundleError(messages.RECIPE_PADDING_NOT_ZERO, where=where)


def copy_bits(out: bytearray, out_bit: int, source: Buffer, bit: int, count: int) -> None:
    """Copy bits; those of the last byte written that are behind them become 0."""
    LIBRARY.dib_bits_copy(Pinned(out), out_bit, Pinned(source), bit, count)


# ---------------------------------------------------------------- the way back


def rebuild(recipe: Recipe, content: Iterable[Buffer], size: int | None = None) -> Iterator[bytes]:
    """Yield the body that a recipe gives for content, which comes in pieces of any size.

    ``BundleError`` if the recipe makes no sense, at the call or, where it does not fit the content, while iterating;
    ``FileError`` if the encoder does not work here.
    """
    rebuilder = Rebuilder(recipe, size)
    return chain(chain.from_iterable(map(rebuilder.write, content)), rebuilder.finish())


class Rebuilder:
    """``rebuild`` piece by piece."""

    def __init__(self, recipe: Recipe, size: int | None = None, spare: AnyEncoder | None = None) -> None:
        """Make one for content of ``size`` bytes, which some encoders need to know."""
        recipe.check()
        self.encoder = reencoders.open_encoder(recipe.encoder, recipe.level, recipe.parameter, size, spare)
        self._editor = _Editor(recipe.edits)

    def write(self, content: Buffer) -> Iterator[bytes]:
        """Take content and yield what the body has got longer by."""
        view = memoryview(content).cast("B")
        for at in range(0, len(view), _SLICE):
            body = self._editor.edit(self.encoder.write(view[at : at + _SLICE]))
            if body:
                yield body

    def finish(self) -> Iterator[bytes]:
        """Say that the content is complete and yield the rest."""
        yield self._editor.edit(self.encoder.finish()) + self._editor.finish()


class _Editor:
    """Makes edits in what passes through it."""

    def __init__(self, edits: Iterable[RecipeEdit]) -> None:
        self._edits = iter(edits)
        self._edit = next(self._edits, None)
        self._copy = self._edit.copied if self._edit else 0  # still to be copied
        self._drop = self._edit.dropped if self._edit else 0  # and then to be dropped
        self._rest = b"\0"  # the bits that do not make a byte yet
        self._rest_bits = 0

    def edit(self, data: bytes) -> bytes:
        """Return the bytes that are complete with ``data``."""
        if self._edit is None and not self._rest_bits:
            return data
        out = bytearray(self._rest)
        end = self._rest_bits
        bit, left = 0, 8 * len(data)
        while self._edit is not None and self._copy + self._drop <= left:
            edit = self._edit
            end = _append_bits(out, end, data, bit, self._copy)
            end = _append_bits(out, end, edit.literals, 0, edit.added)
            bit += self._copy + self._drop
            left -= self._copy + self._drop
            self._next()
        copied = left if self._edit is None else min(left, self._copy)
        end = _append_bits(out, end, data, bit, copied)
        if self._edit is not None:
            self._copy -= copied
            self._drop -= left - copied
        whole = end // 8
        self._rest, self._rest_bits = bytes(out[whole : whole + 1]) or b"\0", end % 8
        return bytes(out[:whole])

    def finish(self) -> bytes:
        """Say that nothing comes any more; ``BundleError`` if edits are left or the last byte is not complete."""
        if self._edit is not None:
            raise BundleError(messages.RECIPE_EDITS_BEYOND_END)
        if self._rest_bits:
            raise BundleError(messages.RECIPE_NO_WHOLE_BYTE)
        return b""

    def _next(self) -> None:
        self._edit = next(self._edits, None)
        if self._edit is not None:
            self._copy, self._drop = self._edit.copied, self._edit.dropped


def _append_bits(out: bytearray, end: int, source: Buffer, bit: int, count: int) -> int:
    """Copy bits behind bit ``end`` of ``out``, which grows; return where they end."""
    if not count:
        return end
    out += bytes((end + count + 7) // 8 - len(out)) if (end + count + 7) // 8 > len(out) else b""
    copy_bits(out, end, source, bit, count)
    return end + count
