"""Recipes for bodies. A recipe names an encoder, and has the bits in which the body differs from the encoder's output.

``find`` decodes a body, and all candidates encode the content in parallel. ``rebuild`` makes a body from its recipe and
content. Both functions process data as streams. After a difference, the comparison continues only where body and output
both start a block at the same content offset. So a difference costs about as many bytes as the blocks around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.codecs import messages, reencoders
from dibundle.codecs.native.library import LIBRARY, Buffer, Pinned
from dibundle.codecs.reencoders import AnyEncoder
from dibundle.errors import BundleError

if TYPE_CHECKING:
    from concurrent.futures import Executor

_SLICE: Final = 1 << 20  # bytes of content that the encoder gets at a time
_NUMBER_LIMIT: Final = 1 << 62


class RecipeEdit(NamedTuple):
    """Copy ``copied`` bits of the encoder's output, skip ``dropped`` bits, and insert ``added`` bits of ``literals``.

    The lowest bit of a byte comes first, as in deflate. In the last byte of ``literals``, the unused bits are 0.
    """

    copied: int
    dropped: int
    added: int
    literals: bytes


class Recipe(NamedTuple):
    """A recipe for a body: an encoder, and edits of its output in order. The output after the last edit is copied."""

    encoder: int
    level: int
    parameter: int
    edits: tuple[RecipeEdit, ...] = ()

    @property
    def literal_bytes(self) -> int:
        """The number of bytes of all literals."""
        return sum(len(edit.literals) for edit in self.edits)

    def check(self) -> None:
        """Raise ``BundleError`` if the encoder is unknown, or if a number in the recipe can never be valid."""
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
    """Copy bits. In the last written byte, the bits after the copied bits become 0."""
    LIBRARY.dib_bits_copy(Pinned(out), out_bit, Pinned(source), bit, count)


# ---------------------------------------------------------------- rebuilding


def rebuild(recipe: Recipe, content: Iterable[Buffer], size: int | None = None) -> Iterator[bytes]:
    """Yield the body that a recipe gives for content. The content comes in pieces of any size.

    An invalid recipe raises ``BundleError`` during the call. Content that does not fit raises ``BundleError`` during
    the iteration. Raises ``FileError`` if the encoder does not work on this machine.
    """
    rebuilder = Rebuilder(recipe, size)
    return chain(chain.from_iterable(map(rebuilder.write, content)), rebuilder.finish())


class Rebuilder:
    """A rebuilder that takes the content in pieces, like :func:`rebuild`."""

    def __init__(
        self,
        recipe: Recipe,
        size: int | None = None,
        spare: AnyEncoder | None = None,
        pool: Executor | None = None,
    ) -> None:
        """Create a rebuilder for content of ``size`` bytes. Some encoders need ``size``, and some use ``pool``."""
        recipe.check()
        self.encoder = reencoders.open_encoder(recipe.encoder, recipe.level, recipe.parameter, size, spare, pool)
        self._editor = _Editor(recipe.edits)

    def write(self, content: Buffer) -> Iterator[bytes]:
        """Take content and yield the new bytes of the body."""
        view = memoryview(content).cast("B")
        for at in range(0, len(view), _SLICE):
            body = self._editor.edit(self.encoder.write(view[at : at + _SLICE]))
            if body:
                yield body

    def finish(self) -> Iterator[bytes]:
        """Finish the content and yield the remaining bytes."""
        yield self._editor.edit(self.encoder.finish()) + self._editor.finish()


class _Editor:
    """A filter that applies edits to a stream of data."""

    def __init__(self, edits: Iterable[RecipeEdit]) -> None:
        self._edits = iter(edits)
        self._edit = next(self._edits, None)
        self._copy = self._edit.copied if self._edit else 0  # bits left to copy
        self._drop = self._edit.dropped if self._edit else 0  # bits left to drop after the copied bits
        self._rest = b"\0"  # last bits of the output, which do not fill a byte yet
        self._rest_bits = 0

    def edit(self, data: bytes) -> bytes:
        """Take ``data``, and return the output's new complete bytes."""
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
        """Finish the data. Raise ``BundleError`` if any edits remain, or if the output ends within a byte."""
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
    """Append ``count`` bits of ``source`` to ``out``, after bit ``end``. Return the new end."""
    if not count:
        return end
    out += bytes((end + count + 7) // 8 - len(out)) if (end + count + 7) // 8 > len(out) else b""
    copy_bits(out, end, source, bit, count)
    return end + count
