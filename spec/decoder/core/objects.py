"""What a target uses, and where it is found (dib.md, 3.1 and 3.5)."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from decoder.core.basics import MiB, Refused, mapped, need, sha256
from decoder.core.values import Column
from decoder.core.zstd import broken, head_is_zstd, opened, uncompressed
from decoder.full.packing import make_form

if TYPE_CHECKING:
    from decoder.core.basics import Content
    from decoder.core.manifest import Bundle, Target

SEEK, TAKES = 0, bytes((1, 2, 3, 7))  # keep, mode, patch and replace take from the cursor


def used_objects(bundle: Bundle, target: Target) -> set[int]:
    """List the objects that a target uses."""
    used, seeks = set(), Column(target.program[1])
    while seeks.at < len(seeks.data):
        used.add(seeks.next())
    before, _, _ = target.program[0].partition(bytes((SEEK,)))
    if any(operation in TAKES for operation in before):
        used.add(0)
    for frame in bundle.frames[target.first : target.first + target.frames]:
        used.update(span.object for span in frame.spans)
    return {number for number in used if number < len(bundle.sizes)}


class Objects:
    """The contents of the base that a bundle asks for, by their digests."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.wanted = set(bundle.digests) | {form.digest for form in bundle.forms}
        self.found: dict[bytes, Content] = {}

    def offer(self, reader: IO[bytes]) -> None:
        """Hash a content and keep it if it is wanted."""
        with tempfile.TemporaryFile() as file:
            digest = hashlib.sha256()
            while piece := reader.read(MiB):
                digest.update(piece)
                file.write(piece)
            file.flush()
            key = digest.digest()
            if key in self.wanted and key not in self.found:
                self.found[key] = mapped(file)

    def search(self, path: Path) -> None:
        """Look through the members of an archive."""
        try:
            with (
                path.open("rb") as plain,
                opened(plain) as stream,
                tarfile.open(fileobj=stream, mode="r|") as tar,
            ):
                for member in tar:
                    if member.isfile() and (data := tar.extractfile(member)):
                        self.offer_forms(data)
        except broken() as error:
            raise Refused(f"{path}: {error}", 6) from error

    def offer_forms(self, data: IO[bytes]) -> None:
        """Offer a member as stored and, where it is gzip or zstd, inflated."""
        with tempfile.TemporaryFile() as file:
            while piece := data.read(MiB):
                file.write(piece)
            file.seek(0)
            self.offer(file)
            file.seek(0)
            if file.read(4)[:2] == b"\x1f\x8b" or head_is_zstd(file):
                file.seek(0)
                try:
                    with opened(file) as stream:
                        self.offer(stream)
                except broken():
                    return  # a member that only looks compressed

    def make_forms(self, used: set[int]) -> None:
        """Make objects that the base has in another form only (3.5)."""
        for form in self.bundle.forms:
            wanted = self.bundle.digests[form.object]
            content = self.found.get(form.digest)
            if form.object not in used or wanted in self.found or content is None:
                continue
            try:
                made = make_form(self.bundle, form, bytes(content))
            except Refused as error:
                raise Refused(f"the base cannot serve as {wanted.hex()}: {error}", 6) from error
            if sha256(made) == wanted:
                self.found[wanted] = made

    def take(self, number: int, made: Content) -> None:
        """Take an object from its place in a target that was made."""
        place, size = self.bundle.places[number], self.bundle.sizes[number]
        content = bytes(made[place.offset : place.offset + place.length])
        if place.is_compressed:
            try:
                content = uncompressed(content, size)
            except broken() as error:
                raise Refused(f"what should be compressed is damaged: {error}", 6) from error
            need(len(content) == size, "a compressed object of another size", 6)
        self.found[self.bundle.digests[number]] = content

    def missing(self, used: set[int]) -> set[int]:
        """List those objects that are not there, nor can be made of what is."""
        forms = {form.object for form in self.bundle.forms if form.digest in self.found}
        return {number for number in used - forms if self.bundle.digests[number] not in self.found}

    def all(self, used: set[int]) -> list[Content]:
        """Give the objects in their order, those that are not used as nothing; or say that the base is another."""
        self.make_forms(used)
        result: list[Content] = [b""] * len(self.bundle.sizes)
        for number in used:
            digest = self.bundle.digests[number]
            need(digest in self.found, f"no base has the content {digest.hex()}", 6)
            right = len(self.found[digest]) == self.bundle.sizes[number]
            need(right, f"the content {digest.hex()} has another size than the bundle says", 6)
            result[number] = self.found[digest]
        return result
