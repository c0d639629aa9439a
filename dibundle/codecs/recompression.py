"""Recompression recipes. A recipe describes how to compress content to the original bytes (spec/dib.md, section 5.1).

A recipe is a list of parts. The bytes of a *plain* part are in the recipe itself. A *body* is a deflate stream or a
zstd frame. An encoder makes the body from a part of the content and a :class:`Recipe`. A gzip layer is a plain header,
a body and a plain trailer. A jar has hundreds of plain parts and bodies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from dibundle.codecs import messages, reencoders
from dibundle.codecs.deflate.recipe import Rebuilder, Recipe, RecipeEdit
from dibundle.codecs.numbers import Numbers, number
from dibundle.codecs.reencoders import AnyEncoder
from dibundle.errors import BundleError

if TYPE_CHECKING:
    from concurrent.futures import Executor

MAX_PARTS: Final = 1 << 16
MAX_EDITS: Final = 1 << 16
"""The maximum number of edits in all bodies of a recipe."""
MAX_SIZE: Final = 16 << 20
"""The maximum size of a recipe in bytes, including the plain bytes of a layer."""

PART_COST: Final = 128  # cost of a part (a byte of content at an ordinary level costs 1)
EDIT_COST: Final = 64  # cost of an edit (a byte of content at an ordinary level costs 1)
BODY_COST: Final = 2048  # cost of a body (a byte of content costs 1): an encoder must be created for each body
PACKING_COST: Final = 1024  # cost of a recipe (a byte of content at an ordinary level costs 1)
MOST_COST: Final = 1 << 62


class Plain(NamedTuple):
    """``length`` bytes that the recipe contains."""

    length: int


class Body(NamedTuple):
    """The compressed bytes that a :class:`Recipe` produces from the next ``content`` bytes."""

    content: int
    recipe: Recipe

    @property
    def reencoder(self) -> int:
        """The number that identifies the encoder and the level."""
        return self.recipe.encoder << 4 | self.recipe.level

    def cost(self, before: int) -> int:
        """Return the cost (a byte of content at an ordinary level costs 1).

        ``before`` is the previous body's re-encoder.
        """
        return _body_cost(self.content, self.reencoder, len(self.recipe.edits), before)


Part = Plain | Body


def _body_cost(content: int, reencoder: int, edits: int, before: int) -> int:
    of_content = content * reencoders.byte_cost(reencoder >> 4, reencoder & 15)
    return BODY_COST + reencoders.start_cost(reencoder, before) + of_content + EDIT_COST * edits


def plain_size(parts: Sequence[Part]) -> int:
    """Return the number of plain bytes."""
    return sum(part.length for part in parts if isinstance(part, Plain))


def content_size(parts: Sequence[Part]) -> int:
    """Return the number of bytes of content."""
    return sum(part.content for part in parts if isinstance(part, Body))


def cost(parts: Sequence[Part]) -> int:
    """Return the cost of recompressing. One byte of content at an ordinary level costs 1."""
    total, before = PACKING_COST + PART_COST * len(parts), 0
    for part in parts:
        if isinstance(part, Body):
            total += part.cost(before)
            before = part.reencoder
    return total


def reencoders_of(parts: Sequence[Part]) -> set[int]:
    """Return the numbers of the re-encoders that the parts use."""
    return {part.reencoder for part in parts if isinstance(part, Body)}


def write(parts: Sequence[Part]) -> bytes:
    """Return the parts as bytes that :func:`read` can read."""
    out = bytearray(number(len(parts)))
    literals = []
    for part in parts:
        if isinstance(part, Plain):
            out += number(part.length << 1)
            continue
        recipe = part.recipe
        out += number(part.content << 1 | 1) + number(part.reencoder) + number(recipe.parameter)
        out += number(len(recipe.edits))
        for edit in recipe.edits:
            out += number(edit.copied) + number(edit.dropped) + number(edit.added)
            literals.append(edit.literals)
    return bytes(out) + b"".join(literals)


def read(data: bytes, listed: Collection[int] = reencoders.KNOWN, *, most: int = MOST_COST) -> tuple[list[Part], bytes]:
    """Return the parts and the bytes after them. Raise ``BundleError`` for bytes that :func:`write` cannot produce.

    ``listed`` has the re-encoders in the bundle's section 1. No other re-encoders are allowed. ``most`` is the maximum
    cost of the recipe.
    """
    reader = Numbers(data)
    count = reader.number()
    if count > MAX_PARTS:
        raise BundleError(messages.RECIPE_TOO_MANY_PARTS, count=count, max_parts=MAX_PARTS)
    most -= PACKING_COST + PART_COST * count
    left, before = MAX_EDITS, 0
    heads: list[tuple[int, tuple[int, int], list[tuple[int, int, int]]] | int] = []
    for _ in range(count):
        turned = reader.number()
        if not turned & 1:
            heads.append(turned >> 1)
            continue
        numbers = reader.number(), reader.number()
        edits = reader.number()
        left -= edits
        if left < 0:
            raise BundleError(messages.RECIPE_TOO_MANY_EDITS, max_edits=MAX_EDITS)
        most -= _body_cost(turned >> 1, numbers[0], edits, before)
        before = numbers[0]
        _check_cost(most)
        bits = [(reader.number(), reader.number(), reader.number()) for _ in range(edits)]
        heads.append((turned >> 1, numbers, bits))
    _check_cost(most)
    parts: list[Part] = []
    at = reader.at
    for head in heads:
        if isinstance(head, int):
            parts.append(Plain(head))
            continue
        content, (reencoder, parameter), bits = head
        edits_of = []
        for copied, dropped, size in bits:
            literals = data[at : at + (size + 7) // 8]
            at += (size + 7) // 8
            edits_of.append(RecipeEdit(copied=copied, dropped=dropped, added=size, literals=literals))
        recipe = Recipe(encoder=reencoder >> 4, level=reencoder & 15, parameter=parameter, edits=tuple(edits_of))
        recipe.check()
        if reencoder not in listed:
            raise BundleError(messages.RECIPE_ENCODER_NOT_LISTED, reencoder=reencoder)
        parts.append(Body(content, recipe))
    return parts, data[at:]


def _check_cost(left: int) -> None:
    if left < 0:
        raise BundleError(messages.LIMIT_RECOMPRESSION_WORK)


class Recompressor:
    """A filter that compresses content, which comes in pieces of any size. Large bodies use the threads of ``pool``."""

    def __init__(self, parts: Sequence[Part], plain: bytes, pool: Executor | None = None) -> None:
        if len(plain) != plain_size(parts):
            raise BundleError(messages.RECIPE_PLAIN_SIZE, plain_size=plain_size(parts), plain_count=len(plain))
        self._parts = iter(parts)
        self._plain = memoryview(plain)
        self._pool = pool
        self._body: Rebuilder | None = None
        self._spare: AnyEncoder | None = None  # the finished encoder of the previous body
        self._left = 0
        self._started = False

    def write(self, content: bytes | bytearray | memoryview) -> Iterator[bytes | memoryview]:
        """Take content. If there is more content than the bodies take, raise ``BundleError``."""
        if not self._started:
            yield from self._advance()
        view = memoryview(content).cast("B")
        while view:
            if self._body is None:
                raise BundleError(messages.RECIPE_CONTENT_LEFT)
            taken = view[: self._left]
            self._left -= len(taken)
            yield from self._body.write(taken)
            view = view[len(taken) :]
            if not self._left:
                yield from self._body.finish()
                yield from self._advance()

    def finish(self) -> Iterator[bytes | memoryview]:
        """Finish the content. Raise ``BundleError`` if content is missing."""
        if not self._started:
            yield from self._advance()
        if self._body is not None:
            raise BundleError(messages.RECIPE_CONTENT_SHORT)

    def _advance(self) -> Iterator[bytes | memoryview]:
        """Prepare the next body that needs content, and yield all bytes before this body."""
        self._started = True
        self._body = None
        for part in self._parts:
            if isinstance(part, Plain):
                yield self._plain[: part.length]
                self._plain = self._plain[part.length :]
                continue
            body = self._open(part.recipe, part.content)
            if part.content:
                self._body, self._left = body, part.content
                return
            yield from body.finish()

    def _open(self, recipe: Recipe, content: int) -> Rebuilder:
        if self._spare and not reencoders.fits(self._spare, *recipe[:3]):
            self._spare = None  # free the previous encoder's tables before the next encoder creates its tables
        rebuilder = Rebuilder(recipe, content, self._spare, self._pool)
        self._spare = rebuilder.encoder
        return rebuilder
