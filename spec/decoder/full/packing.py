"""Packings (dib.md, 4.6) and recipes (deflate.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from decoder.core.basics import Refused, need
from decoder.core.manifest import ENCODERS
from decoder.core.values import Column
from decoder.encoders.deflate import Writer
from decoder.encoders.encode import encode
from decoder.full.known import check_encoders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decoder.core.manifest import Bundle, Form


@dataclass
class Body:
    """A body: how many bytes of content, and the recipe that makes it."""

    size: int
    encoder: int = 0
    parameter: int = 0
    edits: list[tuple[int, int, int]] = field(default_factory=list)
    literals: list[bytes] = field(default_factory=list)


@dataclass
class Packing:
    """A packing: its parts, bodies or plain bytes, and what is known of their sizes."""

    parts: list[Body | int]
    plain: bytes

    @property
    def bodies(self) -> list[Body]:
        """List the bodies."""
        return [part for part in self.parts if isinstance(part, Body)]

    @property
    def takes(self) -> int:
        """Count the content of all bodies."""
        return sum(body.size for body in self.bodies)

    @property
    def cost(self) -> int:
        """Weigh the content by what its encoders cost, and all else by the piece (4.6)."""
        pieces = 128 * len(self.parts) + 64 * sum(len(body.edits) for body in self.bodies)
        numbers = [body.encoder for body in self.bodies]
        starts = sum(start_cost(number, before) for number, before in zip(numbers, [0, *numbers], strict=False))
        contents = sum(body.size * byte_cost(*divmod(body.encoder, 16)) for body in self.bodies)
        return 1024 + pieces + 2048 * len(numbers) + starts + contents


def start_cost(number: int, before: int) -> int:
    """Give what a body costs beside, by its encoder and level, and those of the body before it."""
    encoder, level = divmod(number, 16)
    if encoder >= 48:
        return 65536 if encoder == 49 or level >= 10 else 8192
    return 8192 if encoder >= 32 and number != before else 0


def byte_cost(encoder: int, level: int) -> int:
    """Give what a byte of content costs."""
    if encoder >= 48:
        return 2 if encoder == 49 or level >= 13 else 1
    if level == 9 and encoder in (4, 5, 8):
        return 8
    return 2 if encoder >= 32 and level == 4 else 4 if level >= 7 else 1


def read_packing(data: bytes, encoders: list[int], plain: bool = True) -> Packing:
    """Read a packing, with or without its plain bytes behind it."""
    numbers = Column(data)
    count = numbers.next()
    need(count <= 65536, "too many parts")
    parts: list[Body | int] = []
    for _ in range(count):
        kind = numbers.next()
        parts.append(read_body(numbers, kind >> 1, encoders) if kind & 1 else kind >> 1)
    packing = Packing(parts, b"")
    need(sum(len(body.edits) for body in packing.bodies) <= 65536, "too many edits")
    for body in packing.bodies:
        for _, _, bits in body.edits:
            body.literals.append(numbers.take(-(-bits // 8)))
            spare = -bits % 8
            need(not spare or not body.literals[-1][-1] >> 8 - spare, "bits behind the literals")
    if plain:
        packing.plain = numbers.take(sum(part for part in parts if isinstance(part, int)))
    numbers.end()
    return packing


def read_body(numbers: Column, size: int, encoders: list[int]) -> Body:
    """Read a body's recipe and check it (deflate.md, Recipes)."""
    body = Body(size, numbers.next(), numbers.next())
    need(body.encoder in encoders, "a re-encoder that is not listed")
    kind = body.encoder // 16
    right = {6: body.parameter in {8, 9}}.get(kind, body.parameter == 0)
    if kind in {3, 4, 5, 8}:
        right = 16385 <= body.parameter <= 1 << 30
    elif kind == 9:
        right = 128 <= body.parameter < 16388
    elif kind >= 32:
        right = body.parameter < (8 if kind >= 48 else 65536)
    need(right, "a parameter out of range")
    count = numbers.next()
    need(count <= 65536, "too many edits")
    for number in range(count):
        edit = numbers.next(), numbers.next(), numbers.next()
        need(max(edit) < 1 << 62, "an edit out of range")
        need(edit[1] or edit[2], "an edit that does nothing")
        need(edit[0] or not number, "an edit right behind another")
        body.edits.append(edit)
    return body


def pack(packing: Packing, content: Iterator[bytes]) -> bytes:
    """Make the packed bytes of the content."""
    waiting = bytearray()
    at, out = 0, []
    for part in packing.parts:
        if isinstance(part, int):
            out.append(packing.plain[at : at + part])
            at += part
            continue
        while len(waiting) < part.size:
            piece = next(content, None)
            if piece is None:
                raise Refused("less content than the bodies take")
            waiting += piece
        out.append(make_body(part, bytes(waiting[: part.size])))
        del waiting[: part.size]
    need(not waiting and not any(content), "more content than the bodies take")
    return b"".join(out)


def make_form(bundle: Bundle, form: Form, content: bytes) -> bytes:
    """Make a compressed layer of its content; section 1 does not list the re-encoders of forms."""
    packing = read_packing(form.packing, [16 * encoder + level for encoder in ENCODERS for level in ENCODERS[encoder]])
    check_encoders([body.encoder for body in packing.bodies])
    need(packing.takes == form.size == len(content), "a form of another size")
    bundle.form_excess -= max(0, packing.cost - 16 * bundle.sizes[form.object])
    need(bundle.form_excess >= 0, "forms cost too much")
    return pack(packing, iter([content]))


def make_body(body: Body, content: bytes) -> bytes:
    """Follow a recipe."""
    made = encode(content, body.encoder // 16, body.encoder % 16, body.parameter)
    if not body.edits:
        return made
    writer, at = Writer(), 0
    for (copied, dropped, count), literals in zip(body.edits, body.literals, strict=True):
        need(at + copied + dropped <= 8 * len(made), "an edit goes beyond the encoder's output")
        copy_bits(writer, made, at, copied)
        writer.put(int.from_bytes(literals, "little"), count)
        at += copied + dropped
    copy_bits(writer, made, at, 8 * len(made) - at)
    need(writer.count % 8 == 0, "a body does not end with a whole byte")
    writer.pad()
    return bytes(writer.done)


def copy_bits(writer: Writer, data: bytes, at: int, count: int) -> None:
    """Copy bits."""
    while count:
        part = min(count, 8192)
        some = int.from_bytes(data[at >> 3 : (at + part + 7) >> 3], "little")
        writer.put(some >> (at & 7) & (1 << part) - 1, part)
        at, count = at + part, count - part
