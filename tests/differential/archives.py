"""Generate archives with an expected image (GOOD). Each archive has one or two tricks that may lead a loader to a wrong
image (EVIL).

A mechanism changes an honest archive so that loaders may find EVIL. An honest variant has only changes that honest
programs make. The same seed gives the same bytes. Each archive has its own layers, because an engine does not read a
layer that it already has.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import zstandard

from tests.builders import Style, TestImage, build_layer, docker_save, file, sha256, to_json
from tests.content import noise

BLOCK = 512
NAME = "example.com/app:good"
OTHER = "example.com/app:evil"
OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Raw:
    """A member to write. ``before`` has the blocks that precede the member's header, and ``patch`` changes bytes of
    this header.
    """

    name: str
    data: bytes = b""
    kind: bytes = b"0"
    link: str = ""
    before: bytes = b""
    patch: Callable[[bytearray], None] | None = None

    def blocks(self) -> bytes:
        """Return the header and the padded content."""
        info = tarfile.TarInfo(self.name)
        info.size, info.type, info.linkname = len(self.data), self.kind, self.link
        header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
        if self.patch:
            self.patch(header)
            fix_checksum(header)
        return self.before + bytes(header) + self.data + bytes(-len(self.data) % BLOCK)


def fix_checksum(header: bytearray) -> None:
    """Write the checksum of a header."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)


@dataclass
class Draft:
    """An archive to write. The archive leads to GOOD in the honest way, and also contains EVIL."""

    good: TestImage
    evil: TestImage
    style: Style
    members: list[Raw]
    end: bytes = bytes(1024)
    whole: Callable[[bytes], bytes] = field(default=lambda data: data)
    before: bytes | None = None  # an archive that engines must load before the archive of this case

    def build(self) -> bytes:
        return self.whole(b"".join(member.blocks() for member in self.members) + self.end)

    def has(self, name: str) -> bool:
        return any(member.name == name for member in self.members)

    def get(self, name: str) -> Raw:
        return next(member for member in self.members if member.name == name)

    def at(self, name: str) -> int:
        return next(number for number, member in enumerate(self.members) if member.name == name)

    def put(self, member: Raw) -> None:
        """Replace the member with this name, or append a member."""
        if self.has(member.name):
            self.members[self.at(member.name)] = member
        else:
            self.members.append(member)

    def blob(self, data: bytes) -> str:
        """Add a blob, and return its hex digest."""
        self.put(Raw(f"blobs/sha256/{sha256(data)}", data))
        return sha256(data)

    def json(self, name: str) -> Any:
        return json.loads(self.get(name).data)

    def set_json(self, name: str, value: object) -> None:
        self.put(replace(self.get(name), data=to_json(value)))

    def descriptor(self, media_type: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": f"sha256:{self.blob(data)}", "size": len(data)}

    def manifest_of(self, image: TestImage, *, layers_of: TestImage | None = None) -> bytes:
        """Add the blobs of an image. Return its manifest."""
        config = self.descriptor(f"{OCI}.config.v1+json", image.config_bytes())
        layers = [self.descriptor(f"{OCI}.layer.v1.tar", layer) for layer in (layers_of or image).layers]
        return to_json({"schemaVersion": 2, "config": config, "layers": layers})

    def entry_of(self, image: TestImage, name: str) -> list[dict[str, Any]]:
        """Add the blobs of an image. Return the entries of a manifest.json that lead to the image."""
        config = self.blob(image.config_bytes())
        layers = [f"blobs/sha256/{self.blob(layer)}" for layer in image.layers]
        return [{"Config": f"blobs/sha256/{config}", "RepoTags": [name], "Layers": layers}]

    def index_of(self, image: TestImage, name: str) -> dict[str, Any]:
        found = self.descriptor(f"{OCI}.manifest.v1+json", self.manifest_of(image))
        found["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "evil"}
        return {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [found]}

    def evil_document(self, name: str) -> bytes:
        """Return a version of the document ``name`` that leads to EVIL, under GOOD's image name."""
        made = self.entry_of(self.evil, NAME) if name == "manifest.json" else self.index_of(self.evil, NAME)
        return to_json(made)

    @property
    def document(self) -> str:
        """Return the name of the document that most loaders read."""
        return "manifest.json" if self.has("manifest.json") else "index.json"


Mechanism = Callable[[Draft], None]
MECHANISMS: dict[str, Mechanism] = {}
HONEST: dict[str, Mechanism] = {}


class NotApplicable(Exception):  # noqa: N818 - not an error: another archive is generated instead
    """The exception that a mechanism raises if it finds nothing to change in an archive."""


def mechanism(function: Mechanism) -> Mechanism:
    MECHANISMS[function.__name__] = function
    return function


def honest(function: Mechanism) -> Mechanism:
    HONEST[function.__name__] = function
    return function


def images(seed: int, layers: int = 2) -> tuple[TestImage, TestImage]:
    """Return GOOD and EVIL. Their layers are unique to the seed."""

    def image(which: int, name: str) -> TestImage:
        made = [
            build_layer([file(f"{which}/{number}", noise(seed * 1000 + which * 100 + number, 700))])
            for number in range(layers)
        ]
        return TestImage(made, [name])

    return image(1, NAME), image(2, OTHER)


def draft(seed: int, style: Style, *, layers: int = 2, compression: Any = None) -> Draft:
    """Return the members of an honest archive."""
    good, evil = images(seed, layers)
    saved = docker_save([good], style, compression)
    members = []
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        for item in tar:
            source = tar.extractfile(item) if item.isreg() else None
            name = item.name + ("/" if item.isdir() else "")
            members.append(Raw(name, source.read() if source else b"", item.type, item.linkname))
    return Draft(good, evil, style, members)


def pax(records: dict[str, str], kind: bytes = b"x") -> bytes:
    """Return the blocks of a PAX header."""
    content = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        size = len(body) + len(str(len(body) + len(str(len(body)))))
        content += str(size).encode() + body
    return Raw("pax", content, kind).blocks()


# --- two members with the same name ---


@mechanism
def document_again_behind(made: Draft) -> None:
    made.members.append(Raw(made.document, made.evil_document(made.document)))


@mechanism
def document_again_before(made: Draft) -> None:
    made.members.insert(0, Raw(made.document, made.evil_document(made.document)))


def _alias(prefix: str, suffix: str = "") -> Mechanism:
    def change(made: Draft) -> None:
        made.members.append(Raw(prefix + made.document + suffix, made.evil_document(made.document)))

    return change


for _label, _prefix, _suffix in (
    ("dot", "./", ""),
    ("slash", "/", ""),
    ("dotdot", "blobs/../", ""),
    ("doubled", ".//", ""),
    ("trailing", "", "/"),
    ("dot_behind", "", "/."),
    ("up", "../", ""),
):
    MECHANISMS[f"document_alias_{_label}"] = _alias(_prefix, _suffix)


@mechanism
def document_in_capitals(made: Draft) -> None:
    made.members.insert(0, Raw(made.document.upper(), made.evil_document(made.document)))


@mechanism
def document_by_its_short_name(made: Draft) -> None:
    """On FAT and NTFS, MANIFE~1.JSO is a short name of manifest.json."""
    repositories_lead_elsewhere(made)
    name, end = made.document.upper().rsplit(".", 1)
    made.members.append(Raw(f"{name[:6]}~1.{end[:3]}", made.evil_document(made.document)))


@mechanism
def config_again_behind(made: Draft) -> None:
    name = _config_name(made)
    made.members.append(Raw(name, made.evil.config_bytes()))


@mechanism
def config_again_before(made: Draft) -> None:
    made.members.insert(0, Raw(_config_name(made), made.evil.config_bytes()))


@mechanism
def layer_again_behind(made: Draft) -> None:
    made.members.append(Raw(_layer_name(made), made.evil.layers[0]))


def _config_name(made: Draft) -> str:
    wanted = made.good.config_bytes()
    return next(member.name for member in made.members if member.data == wanted)


def _layer_name(made: Draft) -> str:
    wanted = made.good.layers[0]
    found = [member.name for member in made.members if member.data == wanted]
    if not found:
        raise NotApplicable
    return found[0]


# --- other types ---


def _as_link(kind: bytes, *, first: bool) -> Mechanism:
    def change(made: Draft) -> None:
        evil = made.evil_document(made.document)
        made.members.append(Raw("evil.json", evil))
        link = Raw(made.document, kind=kind, link="evil.json")
        if first:
            made.members.insert(made.at(made.document), link)
        else:
            made.members.append(link)

    return change


for _label, _kind in (("hard", b"1"), ("symbolic", b"2")):
    MECHANISMS[f"{_label}_link_behind"] = _as_link(_kind, first=False)
    MECHANISMS[f"{_label}_link_before"] = _as_link(_kind, first=True)


def _replaced_by_link(kind: bytes, *, before: bool) -> Mechanism:
    def change(made: Draft) -> None:
        evil = Raw("evil.json", made.evil_document(made.document))
        place = made.at(made.document)
        made.members[place] = Raw(made.document, kind=kind, link="evil.json")
        made.members.insert(place if before else place + 1, evil)

    return change


for _label, _kind in (("hard", b"1"), ("symbolic", b"2")):
    MECHANISMS[f"document_is_{_label}_link"] = _replaced_by_link(_kind, before=True)
    MECHANISMS[f"document_is_{_label}_link_ahead"] = _replaced_by_link(_kind, before=False)


@mechanism
def config_is_a_link(made: Draft) -> None:
    name = _config_name(made)
    made.members.insert(0, Raw("evil.config", made.evil.config_bytes()))
    made.members[made.at(name)] = Raw(name, kind=b"2", link="/evil.config" if "/" not in name else "../../evil.config")


@mechanism
def config_behind_a_good_copy_is_a_hard_link(made: Draft) -> None:
    made.members.append(Raw("evil.config", made.evil.config_bytes()))
    made.members.append(Raw(_config_name(made), kind=b"1", link="evil.config"))


@mechanism
def folder_is_a_link(made: Draft) -> None:
    if not made.has("blobs/"):
        raise NotApplicable
    evil = Raw(made.document, made.evil_document(made.document))
    for member in [item for item in made.members if item.name.startswith("blobs/sha256/")]:
        made.members.append(replace(member, name=member.name.replace("blobs/", "other/")))
    made.members.append(Raw("blobs", kind=b"2", link="other"))
    made.members.append(evil)


@mechanism
def folder_becomes_a_link(made: Draft) -> None:
    if not made.has("blobs/"):
        raise NotApplicable
    made.members.insert(0, Raw("blobs", kind=b"2", link="."))
    made.members.append(Raw(made.document, made.evil_document(made.document)))


@mechanism
def below_a_file(made: Draft) -> None:
    made.members.append(Raw(f"{made.document}/x", b"x"))


def _odd_kind(kind: bytes) -> Mechanism:
    def change(made: Draft) -> None:
        made.members.append(Raw(made.document, made.evil_document(made.document), kind))

    return change


for _kind in (b"7", b"S", b"D", b"V", b"N", b"M", b"A", b"\0", b"3", b"6", b"5"):
    MECHANISMS[f"document_of_type_{_kind.hex()}"] = _odd_kind(_kind)


@mechanism
def sparse_by_pax(made: Draft) -> None:
    evil = made.evil_document(made.document)
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": made.document}
    records["GNU.sparse.realsize"] = str(len(evil))
    table = f"1\n0\n{len(evil)}\n".encode()
    made.members.append(Raw("sparse", table + bytes(512 - len(table)) + evil, before=pax(records)))


@mechanism
def sparse_by_old_gnu(made: Draft) -> None:
    evil = made.evil_document(made.document)

    def patch(header: bytearray) -> None:
        header[257:265] = b"ustar  \0"
        header[386:410] = b"%011o\0%011o\0" % (0, len(evil))
        header[483:495] = b"%011o\0" % len(evil)

    made.members.append(Raw(made.document, evil, b"S", patch=patch))


# --- names and sizes in other headers ---


@mechanism
def renamed_by_pax(made: Draft) -> None:
    made.members.append(Raw("harmless", made.evil_document(made.document), before=pax({"path": made.document})))


@mechanism
def renamed_away_by_pax(made: Draft) -> None:
    place = made.at(made.document)
    made.members[place] = replace(made.members[place], before=pax({"path": "harmless"}))
    made.members.insert(place, Raw("other", made.evil_document(made.document), before=pax({"path": made.document})))


@mechanism
def renamed_by_global_pax(made: Draft) -> None:
    evil = made.evil_document(made.document)
    made.members.append(Raw("harmless", evil, before=pax({"path": made.document}, b"g")))


@mechanism
def renamed_by_gnu(made: Draft) -> None:
    long = Raw("././@LongLink", made.document.encode() + b"\0", b"L").blocks()
    made.members.append(Raw("harmless", made.evil_document(made.document), before=long))


@mechanism
def renamed_by_prefix(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        header[345:346] = b"."

    made.members.append(Raw(made.document, made.evil_document(made.document), patch=patch))


@mechanism
def prefix_in_gnu(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        header[257:265] = b"ustar  \0"
        header[345:350] = b"other"

    made.members.append(Raw(made.document, made.evil_document(made.document), patch=patch))


@mechanism
def name_with_a_nul(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        name = made.document.encode()
        header[: len(name) + 5] = name + b"\0junk"

    made.members.append(Raw("x", made.evil_document(made.document), patch=patch))


def _hidden(made: Draft) -> bytes:
    return Raw(made.document, made.evil_document(made.document)).blocks()


@mechanism
def link_by_mode(made: Draft) -> None:
    """A member has the type flag of a file, but programs that take the type from the mode find a link."""
    evil = Raw("elsewhere", made.evil_document(made.document))

    def patch(header: bytearray) -> None:
        header[100:108] = b"0120777\0"
        header[157:166] = b"elsewhere"

    made.members[made.at(made.document)] = replace(made.get(made.document), patch=patch)
    made.members.append(evil)


@mechanism
def pax_length_swallows(made: Draft) -> None:
    """The length in a PAX record has leading zeros.

    Programs that read all digits of the length find a larger number.
    """
    hidden = _hidden(made)
    record = b"00000003000 uname=xxxxxxxxxxx\n"
    made.members.append(Raw("outer", hidden, before=Raw("pax", record + bytes(3000 - len(record)), b"x").blocks()))


def _compressed_for_others(made: Draft, head: bytes, body: bytes) -> None:
    """Insert two members before all others: a PAX header and a file. The header's name begins with ``head``; the file
    has the content ``body``.
    """

    def patch(header: bytearray) -> None:
        header[: len(head)] = head

    first = Raw("x", b"11 mtime=1\n", b"x", patch=patch).blocks()
    made.members.insert(0, Raw("junk", body, before=first))


@mechanism
def a_pax_header_begins_a_frame_of_zstd(made: Draft) -> None:
    """zstd finds an empty frame, a skippable frame, and the other archive's frame. At the end, a second skippable frame
    holds all remaining bytes.
    """
    packed = zstandard.compress(_other_archive(made))
    rest = sum(len(member.blocks()) for member in made.members) + len(made.end) + -(len(packed) + 8) % BLOCK
    head = bytes.fromhex("28b52ffd2000010000") + b"\x50\x2a\x4d\x18" + (3 * BLOCK - 17).to_bytes(4, "little")
    _compressed_for_others(made, head, packed + b"\x50\x2a\x4d\x18" + rest.to_bytes(4, "little"))


@mechanism
def a_pax_header_begins_a_gzip_header(made: Draft) -> None:
    other = _other_archive(made)
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = stream.compress(other) + stream.flush() + struct.pack("<II", zlib.crc32(other), len(other))
    head = b"\x1f\x8b\x08\x04" + bytes.fromhex("010101010303") + (3 * BLOCK - 12).to_bytes(2, "little")
    _compressed_for_others(made, head, packed)


def _other_archive(made: Draft) -> bytes:
    return docker_save([TestImage(made.evil.layers, [NAME])], made.style) + bytes(64 << 10)


@mechanism
def size_by_pax_hides(made: Draft) -> None:
    hidden = _hidden(made)
    made.members.append(Raw("outer", hidden, before=pax({"size": "0"})))


@mechanism
def size_by_pax_shows(made: Draft) -> None:
    hidden = _hidden(made)

    def patch(header: bytearray) -> None:
        header[124:136] = b"00000000000\0"

    made.members.append(Raw("outer", hidden, before=pax({"size": str(len(hidden))}), patch=patch))


@mechanism
def size_of_a_link(made: Draft) -> None:
    made.members.append(Raw("outer", _hidden(made), b"2", "x"))


@mechanism
def size_of_a_folder(made: Draft) -> None:
    made.members.append(Raw("outer/", _hidden(made), b"5"))


def _size_field(text: bytes) -> Mechanism:
    def change(made: Draft) -> None:
        hidden = _hidden(made)

        def patch(header: bytearray) -> None:
            header[124:136] = text

        made.members.append(Raw("outer", hidden, patch=patch))

    return change


for _label, _text in (
    ("spaces", b"           0"),
    ("empty", bytes(12)),
    ("minus", b"-0000000001\0"),
    ("hex", b"0x000000000\0"),
    ("nul_inside", b"0\0000002000\0"[:12]),
    ("base256", b"\x80" + bytes(11)),
    ("base256_negative", b"\xff" * 12),
):
    MECHANISMS[f"size_field_{_label}"] = _size_field(_text)


@mechanism
def checksum_wrong(made: Draft) -> None:
    member = Raw(made.document, made.evil_document(made.document))
    blocks = bytearray(member.blocks())
    blocks[148:156] = b"000001\0 "
    made.end = bytes(blocks) + bytes(1024)


@mechanism
def checksum_signed(made: Draft) -> None:
    header = bytearray(Raw(made.document, made.evil_document(made.document)).blocks())
    header[265:269] = b"\xff\xfe\xfd\xfc"
    header[148:156] = b" " * 8
    total = sum(byte - 256 if byte > 127 else byte for byte in header[:512])
    header[148:156] = b"%06o\0 " % total
    made.end = bytes(header) + bytes(1024)


@mechanism
def of_version_seven(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        header[257:512] = bytes(255)

    made.members.append(Raw(made.document, made.evil_document(made.document), patch=patch))


# --- the end ---


@mechanism
def behind_the_end(made: Draft) -> None:
    made.end = bytes(1024) + _hidden(made) + bytes(1024)


@mechanism
def behind_one_zero_block(made: Draft) -> None:
    made.end = bytes(512) + _hidden(made) + bytes(1024)


@mechanism
def behind_junk(made: Draft) -> None:
    made.end = b"junk" * 128 + _hidden(made) + bytes(1024)


@mechanism
def two_archives(made: Draft) -> None:
    other = docker_save([TestImage(made.evil.layers, [NAME])], made.style)
    made.whole = lambda data: data + other


@mechanism
def compressed_as_a_whole(made: Draft) -> None:
    other = docker_save([TestImage(made.evil.layers, [NAME])], made.style)
    made.whole = lambda data: gzip.compress(other, mtime=0)


@mechanism
def gzip_then_tar(made: Draft) -> None:
    other = docker_save([TestImage(made.evil.layers, [NAME])], made.style)
    made.whole = lambda data: gzip.compress(other, mtime=0) + bytes(-len(gzip.compress(other, mtime=0)) % 512) + data


# --- JSON ---


def _text(made: Draft) -> bytes:
    return made.get(made.document).data


def _with_text(change: Callable[[Draft, bytes], bytes]) -> Mechanism:
    def run(made: Draft) -> None:
        made.put(replace(made.get(made.document), data=change(made, _text(made))))

    return run


def _evil_value(made: Draft) -> bytes:
    """Return, as JSON, the value that makes a document lead to EVIL."""
    if made.document == "manifest.json":
        return b'"blobs/sha256/' + made.blob(made.evil.config_bytes()).encode() + b'"'
    return to_json(made.index_of(made.evil, NAME)["manifests"])


def _again(key: str, other: str, *, front: bool) -> Mechanism:
    """Add a second key that differs from the first only in its spelling."""

    def change(made: Draft, text: bytes) -> bytes:
        is_docker = made.document == "manifest.json"
        if (key == "Config") is not is_docker:
            raise NotApplicable
        known, added = f'"{key}":'.encode(), f'"{other}":'.encode() + _evil_value(made)
        if front:
            return text.replace(known, added + b"," + known, 1)
        closing = b"}]" if is_docker else b"}"
        place = text.rindex(closing)
        return text[:place] + b"," + added + text[place:]

    return _with_text(change)


for _front in (True, False):
    for _key, _other in (
        ("Config", "Config"),
        ("Config", "config"),
        ("Config", "CONFIG"),
        ("manifests", "manifests"),
        ("manifests", "Manifests"),
        ("manifests", "MANIFEST\u017f"),
        ("manifests", "manifest\u017f"),
    ):
        _name = f"key_{_key}_{_other!a}_{'before' if _front else 'behind'}"
        MECHANISMS[_name] = _again(_key, _other, front=_front)


@mechanism
def layers_by_long_s(made: Draft) -> None:
    if made.document != "manifest.json":
        raise NotApplicable
    value = made.json("manifest.json")
    value[0]["Layer\u017f"] = [f"blobs/sha256/{made.blob(layer)}" for layer in made.evil.layers]
    made.set_json("manifest.json", value)


@mechanism
def space_before_json(made: Draft) -> None:
    made.put(replace(made.get(made.document), data=b" \n" + _text(made)))


@mechanism
def byte_order_mark(made: Draft) -> None:
    made.put(replace(made.get(made.document), data=b"\xef\xbb\xbf" + _text(made)))


@mechanism
def json_behind_json(made: Draft) -> None:
    made.put(replace(made.get(made.document), data=_text(made) + made.evil_document(made.document)))


@mechanism
def invalid_utf8(made: Draft) -> None:
    made.put(replace(made.get(made.document), data=_text(made).replace(b"good", b"goo\xff")))


@mechanism
def half_a_surrogate(made: Draft) -> None:
    made.put(replace(made.get(made.document), data=_text(made).replace(b"good", b"goo\\ud800")))


@mechanism
def null_for_a_value(made: Draft) -> None:
    value = made.json(made.document)
    if made.document == "manifest.json":
        value[0]["Config"] = None
        value[0]["config"] = made.entry_of(made.evil, NAME)[0]["Config"]
    else:
        value["manifests"] = None
        value["Manifests"] = made.index_of(made.evil, NAME)["manifests"]
    made.set_json(made.document, value)


@mechanism
def a_second_image(made: Draft) -> None:
    value = made.json(made.document)
    if made.document == "manifest.json":
        value += made.entry_of(made.evil, NAME)
    else:
        value["manifests"] += made.index_of(made.evil, OTHER)["manifests"]
    made.set_json(made.document, value)


@mechanism
def parent_elsewhere(made: Draft) -> None:
    if made.document != "manifest.json":
        raise NotApplicable
    value = made.json("manifest.json")
    value[0]["Parent"] = f"sha256:{sha256(made.evil.config_bytes())}"
    made.set_json("manifest.json", value)


@mechanism
def config_padded_beyond_the_limit(made: Draft) -> None:
    name = _config_name(made)
    made.put(replace(made.get(name), data=made.evil.config_bytes() + b" " * (9 << 20)))


@mechanism
def config_is_another(made: Draft) -> None:
    """A member whose name is the digest of GOOD's config holds EVIL's config."""
    made.put(replace(made.get(_config_name(made)), data=made.evil.config_bytes()))


@mechanism
def config_is_absent(made: Draft) -> None:
    del made.members[made.at(_config_name(made))]


@mechanism
def layers_of_another(made: Draft) -> None:
    for good, evil in zip(made.good.layers, made.evil.layers, strict=True):
        for member in [item for item in made.members if item.data == good]:
            made.put(replace(member, data=evil))


@mechanism
def layers_in_another_order(made: Draft) -> None:
    value = made.json(made.document)
    if made.document != "manifest.json":
        raise NotApplicable
    value[0]["Layers"].reverse()
    made.set_json("manifest.json", value)


@mechanism
def config_has_two_lists(made: Draft) -> None:
    """The config has two lists of diffIDs. The config's digest is not the expected digest."""
    text = made.good.config_bytes()
    evil = json.loads(made.evil.config_bytes())["rootfs"]
    made.put(replace(made.get(_config_name(made)), data=text[:-1] + b',"Rootfs":' + to_json(evil) + b"}"))


# --- layouts ---


def _needs_layout(made: Draft) -> None:
    if not made.has("index.json"):
        raise NotApplicable


@mechanism
def index_leads_elsewhere(made: Draft) -> None:
    made.put(Raw("index.json", made.evil_document("index.json")))
    made.put(Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'))


@mechanism
def docker_manifest_leads_elsewhere(made: Draft) -> None:
    made.put(Raw("manifest.json", made.evil_document("manifest.json")))


@mechanism
def index_without_layout(made: Draft) -> None:
    if made.has("oci-layout"):
        del made.members[made.at("oci-layout")]
    made.put(Raw("index.json", made.evil_document("index.json")))


@mechanism
def layout_without_index(made: Draft) -> None:
    if made.has("index.json"):
        raise NotApplicable
    made.put(Raw("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'))


def _as_attestation(*, platform: bool, annotation: bool, nested: bool) -> Mechanism:
    def change(made: Draft) -> None:
        _needs_layout(made)
        evil = made.descriptor(f"{OCI}.manifest.v1+json", made.manifest_of(made.evil))
        if platform:
            evil["platform"] = {"architecture": "unknown", "os": "unknown"}
        evil["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"} if annotation else {}
        evil["annotations"] |= {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "good"}
        value = made.json("index.json")
        if nested:
            value["manifests"] = [
                made.descriptor(f"{OCI}.index.v1+json", to_json({**value, "manifests": [evil, *value["manifests"]]}))
            ]
            value["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
        else:
            value["manifests"].insert(0, evil)
        made.set_json("index.json", value)

    return change


for _platform, _annotation, _nested in itertools.product((True, False), (True, False), (True, False)):
    _label = f"{'unknown_' if _platform else ''}{'annotated_' if _annotation else ''}{'nested' if _nested else 'top'}"
    MECHANISMS[f"evil_attestation_{_label}"] = _as_attestation(
        platform=_platform, annotation=_annotation, nested=_nested
    )


@mechanism
def evil_for_this_platform(made: Draft) -> None:
    _needs_layout(made)
    evil = made.descriptor(f"{OCI}.manifest.v1+json", made.manifest_of(made.evil))
    good = made.descriptor(f"{OCI}.manifest.v1+json", made.manifest_of(made.good))
    evil["platform"] = {"architecture": "amd64", "os": "linux"}
    good["platform"] = {"architecture": "arm64", "os": "linux"}
    body = to_json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [good, evil]})
    top = made.descriptor(f"{OCI}.index.v1+json", body)
    top["annotations"] = {"io.containerd.image.name": NAME}
    made.set_json("index.json", {**made.json("index.json"), "manifests": [top]})


AMD64 = {"architecture": "amd64", "os": "linux"}


def _absent(
    platform: dict[str, str] | None, good: dict[str, str] | None = AMD64, *, apart: bool = False, comes: bool = False
) -> Mechanism:
    """Make the archive lead to GOOD and to EVIL, each with a platform. EVIL's blobs are absent, or present only under
    other names.

    If ``apart`` is true, EVIL has a separate index.
    """

    def change(made: Draft) -> None:
        _needs_layout(made)
        value = made.json("index.json")
        there = made.descriptor(f"{OCI}.manifest.v1+json", made.manifest_of(made.good))
        aside = Draft(made.good, made.evil, made.style, [])
        manifest = aside.manifest_of(made.evil)
        absent: dict[str, Any] = {"mediaType": f"{OCI}.manifest.v1+json", "digest": f"sha256:{sha256(manifest)}"}
        absent["size"] = len(manifest)
        for descriptor, said in ((absent, platform), (there, good)):
            if said:
                descriptor["platform"] = said
        if comes:
            for number, data in enumerate((manifest, *(member.data for member in aside.members))):
                made.put(Raw(f"x/{number}", data))
        else:
            made.before = docker_save([made.evil], "oci")
        tops = []
        for number, lead in enumerate(([absent], [there]) if apart else ([absent, there],)):
            body = to_json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": lead})
            top = made.descriptor(f"{OCI}.index.v1+json", body)
            top["annotations"] = {"io.containerd.image.name": NAME if number == 0 else f"{NAME}-good"}
            tops.append(top)
        made.set_json("index.json", {**value, "manifests": tops})

    return change


I386 = {"architecture": "386", "os": "linux"}
for _label, _described in (
    ("no_platform", None),
    ("half_a_platform", {"os": "linux"}),
    ("a_variant", {**AMD64, "variant": "v4"}),
    ("features", {**AMD64, "os.features": ["x"]}),
    ("its_platform", AMD64),
):
    MECHANISMS[f"absent_beside_{_label}_comes"] = _absent(I386, _described, comes=True)  # type: ignore[arg-type]
    if _label != "its_platform":
        MECHANISMS[f"absent_beside_{_label}"] = _absent(I386, _described)  # type: ignore[arg-type]
MECHANISMS["absent_in_an_index_of_its_own"] = _absent(I386, apart=True)
MECHANISMS["absent_in_an_index_of_its_own_comes"] = _absent(I386, apart=True, comes=True)
MECHANISMS["absent_for_arm64_comes"] = _absent({"architecture": "arm64", "os": "linux"}, comes=True)


for _label, _machine in (("amd64", "amd64"), ("x86_64", "x86_64"), ("unnamed", None), ("case", "AMD64")):
    MECHANISMS[f"absent_for_{_label}"] = _absent({"architecture": _machine, "os": "linux"} if _machine else None)


def _absent_beside(good: dict[str, str], absent: dict[str, str]) -> Mechanism:
    """Make the archive lead to GOOD for one platform, and to a missing manifest for a different platform."""

    def change(made: Draft) -> None:
        made.good = replace(made.good, config={"os": "linux", **good})
        if made.has("manifest.json"):
            raise NotApplicable
        _absent({"os": "linux", **absent}, {"os": "linux", **good})(made)

    return change


for _here, _gone in (("386", "amd64"), ("x86_64", "amd64"), ("arm", "arm64"), ("arm v6", "arm v7"), ("s390x", "amd64")):
    MECHANISMS[f"absent_{_gone}_beside_{_here}"] = _absent_beside(
        *({"architecture": word.split()[0], "variant": ([*word.split(), ""])[1]} for word in (_here, _gone))
    )


@mechanism
def index_and_manifest_at_once(made: Draft) -> None:
    _needs_layout(made)
    manifest = json.loads(made.manifest_of(made.good))
    manifest["manifests"] = made.index_of(made.evil, NAME)["manifests"]
    value = made.json("index.json")
    value["manifests"] = [made.descriptor(f"{OCI}.manifest.v1+json", to_json(manifest))]
    value["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
    made.set_json("index.json", value)


@mechanism
def index_and_manifest_at_once_as_index(made: Draft) -> None:
    _needs_layout(made)
    manifest = json.loads(made.manifest_of(made.evil))
    manifest["manifests"] = made.index_of(made.good, NAME)["manifests"]
    value = made.json("index.json")
    value["manifests"] = [made.descriptor(f"{OCI}.index.v1+json", to_json(manifest))]
    value["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
    made.set_json("index.json", value)


@mechanism
def manifest_typed_as_index(made: Draft) -> None:
    _needs_layout(made)
    value = made.json("index.json")
    value["manifests"][0]["mediaType"] = f"{OCI}.index.v1+json"
    made.set_json("index.json", value)


def _in_descriptor(key: str, value: object) -> Mechanism:
    def change(made: Draft) -> None:
        _needs_layout(made)
        index = made.json("index.json")
        manifest = json.loads(made.manifest_of(made.good))
        manifest["layers"][0][key] = value
        index["manifests"] = [made.descriptor(f"{OCI}.manifest.v1+json", to_json(manifest))]
        index["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
        made.set_json("index.json", index)

    return change


MECHANISMS["layer_with_urls"] = _in_descriptor("urls", ["http://127.0.0.1:1/layer"])
MECHANISMS["layer_with_data"] = _in_descriptor("data", "AAAA")
MECHANISMS["layer_with_another_size"] = _in_descriptor("size", 1)
MECHANISMS["layer_with_a_float_size"] = _in_descriptor("size", 2048.0)
MECHANISMS["layer_of_another_type"] = _in_descriptor("mediaType", f"{OCI}.layer.v1.tar+gzip")
MECHANISMS["layer_that_is_foreign"] = _in_descriptor(
    "mediaType", "application/vnd.docker.image.rootfs.foreign.diff.tar"
)


@mechanism
def manifest_with_data(made: Draft) -> None:
    _needs_layout(made)
    index = made.json("index.json")
    import base64

    index["manifests"][0]["data"] = base64.b64encode(made.manifest_of(made.evil)).decode()
    made.set_json("index.json", index)


@mechanism
def manifest_with_subject(made: Draft) -> None:
    _needs_layout(made)
    index = made.json("index.json")
    manifest = json.loads(made.manifest_of(made.good))
    manifest["subject"] = made.descriptor(f"{OCI}.manifest.v1+json", made.manifest_of(made.evil))
    index["manifests"] = [made.descriptor(f"{OCI}.manifest.v1+json", to_json(manifest))]
    index["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
    made.set_json("index.json", index)


@mechanism
def digest_of_another_kind(made: Draft) -> None:
    import hashlib

    _needs_layout(made)
    index = made.json("index.json")
    evil = made.manifest_of(made.evil)
    digest = hashlib.sha512(evil).hexdigest()
    made.put(Raw(f"blobs/sha512/{digest}", evil))
    index["manifests"][0] |= {"digest": f"sha512:{digest}", "size": len(evil)}
    made.set_json("index.json", index)


@mechanism
def deeply_nested(made: Draft) -> None:
    _needs_layout(made)
    value = made.json("index.json")
    for _ in range(6):
        body = to_json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": value["manifests"]})
        value["manifests"] = [made.descriptor(f"{OCI}.index.v1+json", body)]
    value["manifests"][0]["annotations"] = {"io.containerd.image.name": NAME}
    made.set_json("index.json", value)


@mechanism
def evil_nested_beside(made: Draft) -> None:
    _needs_layout(made)
    value = made.json("index.json")
    body = to_json(made.index_of(made.evil, NAME))
    value["manifests"].append(made.descriptor(f"{OCI}.index.v1+json", body))
    made.set_json("index.json", value)


@mechanism
def repositories_alone(made: Draft) -> None:
    """The archive has the format of docker before 1.10, with folders of layers, and without manifest.json."""
    if made.has("manifest.json"):
        del made.members[made.at("manifest.json")]
    name = sha256(b"evil")
    made.put(Raw(f"{name}/", kind=b"5"))
    made.put(Raw(f"{name}/VERSION", b"1.0"))
    made.put(Raw(f"{name}/json", to_json({"id": name, "created": "2020-01-01T00:00:00Z", "os": "linux"})))
    made.put(Raw(f"{name}/layer.tar", made.evil.layers[0]))
    made.put(Raw("repositories", to_json({"example.com/app": {"good": name}})))


@mechanism
def repositories_lead_elsewhere(made: Draft) -> None:
    name = sha256(b"evil")
    made.put(Raw(f"{name}/VERSION", b"1.0"))
    made.put(Raw(f"{name}/json", to_json({"id": name, "created": "2020-01-01T00:00:00Z", "os": "linux"})))
    made.put(Raw(f"{name}/layer.tar", made.evil.layers[0]))
    made.put(Raw("repositories", to_json({"example.com/app": {"good": name}})))


@mechanism
def layer_sources_elsewhere(made: Draft) -> None:
    if not made.has("manifest.json"):
        raise NotApplicable
    value = made.json("manifest.json")
    good = json.loads(made.good.config_bytes())["rootfs"]["diff_ids"][0]
    evil = made.descriptor(f"{OCI}.layer.v1.tar", made.evil.layers[0])
    value[0]["LayerSources"] = {good: {**evil, "urls": ["http://127.0.0.1:1/x"]}}
    made.set_json("manifest.json", value)


@mechanism
def layer_twice_compressed(made: Draft) -> None:
    layer = _layer_name(made)
    if made.has("index.json"):
        raise NotApplicable
    made.put(replace(made.get(layer), data=gzip.compress(gzip.compress(made.good.layers[0], mtime=0), mtime=0)))


@mechanism
def layer_gzip_then_more(made: Draft) -> None:
    layer = _layer_name(made)
    if made.has("index.json"):
        raise NotApplicable
    data = gzip.compress(made.good.layers[0], mtime=0) + gzip.compress(made.evil.layers[0], mtime=0)
    made.put(replace(made.get(layer), data=data))


# changes that honest programs make


@honest
def as_it_is(made: Draft) -> None:
    pass


@honest
def reversed_order(made: Draft) -> None:
    made.members.reverse()


@honest
def dot_before_names(made: Draft) -> None:
    made.members = [replace(member, name="./" + member.name) for member in made.members]


@honest
def padded_to_10240(made: Draft) -> None:
    size = sum(len(member.blocks()) for member in made.members)
    made.end = bytes(1024 + -(size + 1024) % 10240)


@honest
def no_end_blocks(made: Draft) -> None:
    made.end = b""


@honest
def one_end_block(made: Draft) -> None:
    made.end = bytes(512)


@honest
def of_gnu_tar(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        header[257:265] = b"ustar  \0"

    made.members = [replace(member, patch=patch) for member in made.members]


@honest
def times_by_pax(made: Draft) -> None:
    made.members = [replace(member, before=pax({"mtime": "1700000000.123456789"})) for member in made.members]


@honest
def owners_by_pax(made: Draft) -> None:
    made.members = [replace(member, before=pax({"uname": "b\u00fcro", "uid": "3000000"})) for member in made.members]


@honest
def links_that_nothing_refers_to(made: Draft) -> None:
    made.members.insert(0, Raw("notes/latest", kind=b"2", link=f"../{made.members[-1].name}"))


@honest
def more_files(made: Draft) -> None:
    made.members.append(Raw("README", b"hello\n"))
    made.members.append(Raw("notes/empty"))


@honest
def unreferenced_configs(made: Draft) -> None:
    made.put(Raw(f"blobs/sha256/{sha256(made.evil.config_bytes())}", made.evil.config_bytes()))


@honest
def without_names(made: Draft) -> None:
    if made.has("manifest.json"):
        value = made.json("manifest.json")
        value[0]["RepoTags"] = None
        made.set_json("manifest.json", value)
    if made.has("index.json"):
        index = made.json("index.json")
        index["manifests"][0].pop("annotations", None)
        made.set_json("index.json", index)


@honest
def pretty_json(made: Draft) -> None:
    for name in ("manifest.json", "index.json"):
        if made.has(name):
            made.put(replace(made.get(name), data=json.dumps(made.json(name), indent=2).encode() + b"\n"))


@honest
def lower_case_keys(made: Draft) -> None:
    """The keys are in lower case, as jib writes them."""
    if not made.has("manifest.json"):
        raise NotApplicable
    value = made.json("manifest.json")[0]
    made.set_json(
        "manifest.json", [{"config": value["Config"], "repoTags": value["RepoTags"], "layers": value["Layers"]}]
    )


@mechanism
def another_platform_is_absent(made: Draft) -> None:
    """If docker has only one platform of an image, its archive also lists the absent platforms. An attacker can make
    such an archive, too.
    """
    if made.has("manifest.json"):
        raise NotApplicable
    _absent({"architecture": "s390x", "os": "linux"})(made)


@honest
def executable_headers(made: Draft) -> None:
    def patch(header: bytearray) -> None:
        header[100:108] = b"0000755\0"
        header[136:148] = b"14200000000 "

    made.members = [replace(member, patch=patch) for member in made.members]


STYLES: tuple[Style, ...] = ("classic", "podman", "v25", "oci", "c8d")
COMPRESSIONS: tuple[Any, ...] = (None, "gzip", "zstd")


@dataclass(frozen=True)
class Case:
    """A generated archive. If ``is_honest`` is true, dib must accept the archive."""

    label: str
    is_honest: bool
    archive: bytes
    good: bytes
    evil: bytes
    before: bytes | None = None


def cases(pairs: int = 150) -> Iterator[Case]:
    """Yield honest variants, each mechanism alone in three styles, and ``pairs`` pairs of mechanisms."""
    seeds = itertools.count(1)
    for style, compression in itertools.product(STYLES, COMPRESSIONS):
        for label, change in HONEST.items():
            if compression and label not in ("as_it_is", "reversed_order", "without_names"):
                continue
            yield from _case(next(seeds), style, [(label, change)], compression, is_honest=True)
        yield from _case(next(seeds), style, [("as_it_is", as_it_is)], compression, is_honest=True, layers=5)
    for label, change in MECHANISMS.items():
        for style in ("classic", "v25", "oci"):
            yield from _case(next(seeds), style, [(label, change)], None, is_honest=False)  # type: ignore[arg-type]
    draw = random.Random(17)
    names = sorted(MECHANISMS)
    for _ in range(pairs):
        chosen = draw.sample(names, 2)
        style = draw.choice(STYLES)
        yield from _case(next(seeds), style, [(name, MECHANISMS[name]) for name in chosen], None, is_honest=False)


def _case(
    seed: int,
    style: Style,
    changes: list[tuple[str, Mechanism]],
    compression: Any,
    *,
    is_honest: bool,
    layers: int = 2,
) -> Iterator[Case]:
    made = draft(seed, style, layers=layers, compression=compression)
    try:
        for _, change in changes:
            change(made)
        archive = made.build()
    except (NotApplicable, StopIteration, ValueError):
        return
    label = "+".join([style, *([compression] if compression else []), *(name for name, _ in changes)])
    good, evil = (bytes.fromhex(sha256(image.config_bytes())) for image in (made.good, made.evil))
    yield Case(label, is_honest, archive, good, evil, made.before)
