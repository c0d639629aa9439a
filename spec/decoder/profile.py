"""The strict profile (profile.md)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from decoder.core.basics import MiB, Refused, mapped, need, sha256
from decoder.core.zstd import broken, pieces

OCI, DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
INDEXES = {OCI + "index.v1+json", DOCKER + "distribution.manifest.list.v2+json"}
MANIFESTS = {OCI + "manifest.v1+json", DOCKER + "distribution.manifest.v2+json"}
CONFIGS = {OCI + "config.v1+json", DOCKER + "container.image.v1+json"}
LAYERS = {OCI + "layer.v1.tar": None, DOCKER + "image.rootfs.diff.tar": None} | {
    **{OCI + "layer.v1.tar+gzip": "gzip", DOCKER + "image.rootfs.diff.tar.gzip": "gzip"},
    **{OCI + "layer.v1.tar+zstd": "zstd"},
}
PLATFORM = {"architecture", "os", "variant", "os.version", "os.features"}
CONFIG = {*PLATFORM, "rootfs", "config", "history", "created", "author"}
DESCRIPTOR = {"mediaType", "digest", "size", "annotations", "platform", "artifactType"}
PART = rb"[A-Za-z0-9._:@+=,-]+"


def fits(condition: object, rule: str) -> None:
    """Refuse an archive that breaks a rule of the profile."""
    need(condition, f"not every reader would find the same images: {rule} of profile.md is broken", 8)


class Member(NamedTuple):
    """A member of an archive: its type flag, and its content."""

    flag: int
    content: memoryview
    leads_to: str


def octal(field: bytes) -> int:
    """Read a number in octal digits."""
    found = re.fullmatch(rb" *([0-7]{1,12})[ \0]*", field)
    fits(found, "P2")
    assert found
    return int(found[1], 8)


def read_members(data: memoryview) -> dict[str, Member]:
    """Read a tar that has one reading."""
    fits(len(data) % 512 == 0 and bytes(data[:3]) != b"BZh", "P1")
    members: dict[str, Member] = {}
    at, large = 0, None
    while at < len(data) and any(block := bytes(data[at : at + 512])):
        fits(block[257:265] in (b"ustar\x0000", b"ustar  \0") and not any(block[500:]), "P2")
        fits(octal(block[148:156]) == sum(block[:148]) + 256 + sum(block[156:]), "P2")
        flag = block[156] or 48
        fits(flag in b"0125x", "P3")
        size = int.from_bytes(block[125:136], "big") if block[124] == 128 else octal(block[124:136])
        fits(block[124] != 128 or 1 << 33 <= size < 1 << 62, "P2")
        fits(size == 0 or flag in b"0x", "P3")
        kind = {48: 0o100000, 49: 0o100000, 50: 0o120000, 53: 0o40000, 120: 0o100000}[flag]
        mode = octal(block[100:108]) if any(block[100:108]) else 0
        fits(mode & ~0o7777 in (0, kind), "P3")
        fits(flag in b"12" or not any(block[157:257]), "P3")
        at += 512
        if flag == ord("x"):
            fits(large is None and size <= 65536 and at + size <= len(data), "P5")
            fits(all(re.fullmatch(rb"[ -~]*\0*", part) for part in (block[:100], block[345:500])), "P5")
            large = pax_size(bytes(data[at : at + size]))
        else:
            fits(not large or (flag == 48 and size in (0, large)), "P5")
            size, large = large or size, None
            fits(at + size <= len(data), "P1")
            name = member_name(block, flag)
            fits(name not in members, "P6")
            fits(re.fullmatch(rb"[\x01-\x7f]*\0*", block[157:257]), "P26")
            leads_to = block[157:257].rstrip(b"\0").decode("ascii")
            members[name] = Member(flag, data[at : at + size], leads_to)
        at += -(-size // 512) * 512
    fits(large is None, "P5")
    fits(not any(bytes(data[at:]).strip(b"\0")), "P1")
    fits(len(members) <= 65536, "P6")
    fits(len({name.lower() for name in members}) == len(members), "P6")
    spellings = {name.lower(): name for name in members}
    files = {"manifest.json", "index.json", "oci-layout", "repositories"}
    documents = files | {"blobs", "blobs/sha256"}
    for name, member in members.items():
        above = [name, *(name[: found.start()] for found in re.finditer("/", name))]
        fits(all(part in documents or part.lower() not in documents for part in above), "P25")
        fits(not files & {*above[1:], *([name] if member.flag == ord("5") else [])}, "P25")
        if member.flag in b"12":
            parts, rest = name.split("/")[:-1] if member.flag == ord("2") else [], member.leads_to
            while parts and rest.startswith("../"):
                parts, rest = parts[:-1], rest[3:]
            led = members.get("/".join([*parts, rest]))
            fits(led and led.flag == 48, "P26")
        for end in (found.start() for found in re.finditer("/", name)):
            fits(name[:end] not in members or members[name[:end]].flag == ord("5"), "P7")
            fits(spellings.setdefault(name[:end].lower(), name[:end]) == name[:end], "P7")
            fits(len(spellings) <= 65536, "P6")
    return members


def pax_size(content: bytes) -> int:
    """Return the size in a PAX header, 0 if there is none."""
    values: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        found = re.compile(rb"([1-9]\d*) ([^=\n]+)=([^\n\0]*)\n").match(content, at)
        fits(found and found[1] == b"%d" % (found.end() - at) and found[2] not in values, "P5")
        assert found
        values[found[2]], at = found[3], found.end()
    fits(values.keys() <= {b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"size"}, "P5")
    if b"size" not in values:
        return 0
    fits(re.fullmatch(rb"[1-9]\d{0,18}", values[b"size"]) and 1 << 33 <= int(values[b"size"]) < 1 << 62, "P5")
    return int(values[b"size"])


def member_name(block: bytes, flag: int) -> str:
    """Return the name of a member."""
    fits(re.fullmatch(rb"[^\0]*\0*", block[:100]) and re.fullmatch(rb"[^\0]*\0*", block[345:500]), "P4")
    name, prefix = block[:100].strip(b"\0"), block[345:500].strip(b"\0")
    fits(not prefix or block[257:265] == b"ustar\x0000", "P4")
    name = prefix + b"/" + name if prefix else name
    if flag == ord("5"):
        name = name.removesuffix(b"/")
        if name == b".":
            return "."
    name = name.removeprefix(b"./")
    fits(re.fullmatch(PART + rb"(?:/" + PART + rb")*", name), "P4")
    fits(b"./" not in name + b"/" and b"/.wh." not in b"/" + name, "P4")
    return name.decode()


def document(content: memoryview) -> Any:  # noqa: ANN401 - what JSON holds
    """Read strict JSON."""
    fits(len(content) <= 4 * MiB and bytes(content[:1]) in (b"{", b"["), "P8")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fits(len({key for key, _ in pairs}) == len(pairs), "P8")
        return dict(pairs)

    def no_number(text: str) -> None:
        fits(False, "P8")

    try:
        value = json.loads(bytes(content).decode(), object_pairs_hook=once, parse_constant=no_number)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        fits(False, "P8")
    return value


def fold(key: str) -> str:
    """Return a key with its case folded, as Go's JSON folds it."""
    return re.sub("[A-Z]", lambda found: found[0].lower(), key).replace("\u017f", "s").replace("\u212a", "k")


def keyed(value: object, keys: set[str], more: bool = False) -> dict[str, Any]:
    """Check the keys of an object."""
    fits(isinstance(value, dict), "P9")
    assert isinstance(value, dict)
    folded = {fold(key) for key in keys}
    for key in value:
        fits(key in keys or (more and fold(key) not in folded), "P9")
    fits(len({fold(key) for key in value}) == len(value), "P9")
    return dict(value)


def listed(value: object, null: bool = False) -> list[Any]:
    """Check a list."""
    value = [] if null and value is None else value
    fits(isinstance(value, list) and len(value) <= 4096, "P10")
    assert isinstance(value, list)
    return list(value)


def worded(value: object) -> str:
    """Check a text."""
    fits(isinstance(value, str), "P10")
    return str(value)


def hex_of(value: object) -> str:
    """Return the digits of a digest."""
    fits(re.fullmatch("sha256:[0-9a-f]{64}", worded(value)), "P10")
    return str(value)[7:]


def platform(value: dict[str, Any]) -> list[str]:
    """Return os, architecture and variant, up to the last that is there."""
    parts = [worded("" if (part := value.get(key)) is None else part) for key in ("os", "architecture", "variant")]
    fits(not any("/" in part for part in parts), "P20")
    while parts and not parts[-1]:
        parts.pop()
    return parts


def overlap(one: list[str], other: list[str]) -> bool:
    """Tell whether two platforms may be taken for each other."""
    return len(one) < 2 or len(other) < 2 or not all(one[:2] + other[:2]) or one[:2] == other[:2]


def described(value: object) -> dict[str, Any]:
    """Check a descriptor."""
    found = keyed(value, DESCRIPTOR)
    worded(found.get("mediaType"))
    hex_of(found.get("digest"))
    size = found.get("size")
    fits(type(size) is int and 0 <= size < 1 << 62, "P10")
    fits(found.get("artifactType") in (None, *CONFIGS), "P11")
    annotations = keyed({} if found.get("annotations") is None else found["annotations"], set(), True)
    found["annotations"] = {key: worded(item) for key, item in annotations.items()}
    if "platform" in found:
        found["platform"] = platform(keyed(found["platform"], PLATFORM))
    return found


class Images:
    """The images of an archive: pairs of the digests of config and manifest."""

    def __init__(self, data: memoryview) -> None:
        self.members = read_members(data)
        self.left, self.excess = 64 * MiB, 4 << 30
        self.contents: dict[str, str] = {}
        self.names: dict[str, str] = {}
        self.acted_on: list[tuple[str, str]] = []  # with annotations that programs act on
        self.found: list[tuple[str, str]] = []
        if "manifest.json" in self.members:
            self.docker(listed(self.document(self.file("manifest.json"))))
        else:
            legacy = "repositories|[^/]+/(?:json|layer[.]tar|VERSION)"
            fits(not any(re.fullmatch(legacy, name) for name in self.members), "P13")
        before = {config for config, _ in self.found}
        fits(("index.json" in self.members) == ("oci-layout" in self.members), "P13")
        if "index.json" in self.members:
            fits(self.document(self.file("oci-layout")) == {"imageLayoutVersion": "1.0.0"}, "P13")
            self.found += self.layout()
            fits(not before or before == {config for config, _ in self.found}, "P22")
            fits(not before or before == {config for config, manifest in self.found if manifest}, "P22")
        fits(self.found, "P13")

    def file(self, name: str) -> memoryview:
        """Return the content of a file that is referred to."""
        fits(name in self.members and self.members[name].flag == 48, "P14")
        return self.members[name].content

    def document(self, content: memoryview) -> Any:  # noqa: ANN401 - what JSON holds
        """Read a document, of which there are not too many."""
        self.left -= len(content) + 1024
        fits(self.left >= 0, "P8")
        return document(content)

    def name(self, name: str, config: str) -> None:
        """Note the name of an image."""
        host = next((host for host in ("docker.io/", "index.docker.io/", "localhost/") if name.startswith(host)), "")
        name = name.removeprefix(host).removeprefix("library/")
        name += "" if ":" in name.split("/")[-1] else ":latest"
        fits(self.names.setdefault(name, config) == config, "P23")

    def config(self, content: memoryview) -> tuple[list[str], list[str]]:
        """Return the diffIDs of a config, and its platform."""
        value = keyed(self.document(content), CONFIG, True)
        fits(not {"manifests", "layers", "schemaVersion", "fsLayers", "mediaType"} & value.keys(), "P12")
        root = keyed(value.get("rootfs"), {"type", "diff_ids"})
        fits(root.get("type") == "layers", "P12")
        return [hex_of(item) for item in listed(root.get("diff_ids"), True)], platform(value)

    def check_layers(self, names: list[str], diff_ids: list[str]) -> list[str | None]:
        """Check the layers of an image; return how they are compressed."""
        fits(len(names) == len(diff_ids), "P15")
        kinds = []
        for name, diff_id in zip(names, diff_ids, strict=True):
            data = self.file(name)
            start = bytes(data[:6])
            kind = "gzip" if start[:3] == b"\x1f\x8b\x08" else "zstd" if start[:4] == b"\x28\xb5\x2f\xfd" else None
            odd = start[:3] == b"BZh" or start == b"\xfd7zXZ\0" or re.match(rb"[P-_]\x2a\x4d\x18", start)
            fits(kind or not odd, "P21")
            if name not in self.contents:
                self.contents[name] = self.expanded_digest(data, kind)
            fits(self.contents[name] == diff_id, "P21")
            kinds.append(kind)
        return kinds

    def docker(self, entries: list[Any]) -> None:
        """Read manifest.json."""
        fits(entries, "P15")
        parents = []
        for value in entries:
            is_jib = isinstance(value, dict) and "config" in value
            keys = ("config", "repoTags", "layers") if is_jib else ("Config", "RepoTags", "Layers")
            entry = keyed(value, {*keys} if is_jib else {*keys, "LayerSources", "Parent"})
            content = self.file(worded(entry.get(keys[0])))
            config = sha256(content).hex()
            names = [worded(item) for item in listed(entry.get(keys[2]), True)]
            diff_ids = self.config(content)[0]
            self.check_layers(names, diff_ids)
            sources = entry.get("LayerSources")
            for diff_id, source in keyed({} if sources is None else sources, set(), True).items():
                found = described(source)
                fits(not found["annotations"], "P15")
                fits(hex_of(diff_id) in diff_ids and found["mediaType"] in LAYERS, "P15")
                for data in (
                    self.file(name) for name, of in zip(names, diff_ids, strict=True) if of == hex_of(diff_id)
                ):
                    fits((found["size"], hex_of(found["digest"])) == (len(data), sha256(data).hex()), "P15")
            for name in listed(entry.get(keys[1]), True):
                self.name(worded(name), config)
            if entry.get("Parent") is not None:
                parents.append(hex_of(entry["Parent"]))
                fits(parents[-1] != config, "P15")
            self.found.append((config, ""))
        fits(set(parents) <= {config for config, _ in self.found}, "P15")

    def blob(self, descriptor: dict[str, Any]) -> memoryview:
        """Return the content of a blob, which is what its descriptor says."""
        data = self.file(f"blobs/sha256/{hex_of(descriptor['digest'])}")
        fits((len(data), sha256(data).hex()) == (descriptor["size"], hex_of(descriptor["digest"])), "P16")
        return data

    def head(self, content: memoryview, keys: set[str], types: set[str], media_type: str | None) -> dict[str, Any]:
        """Read an index or a manifest."""
        value = keyed(self.document(content), {"schemaVersion", "mediaType", "annotations", *keys})
        fits(type(value.get("schemaVersion")) is int and value["schemaVersion"] == 2, "P11")
        own = value.get("mediaType", media_type or OCI + "index.v1+json")
        fits(isinstance(own, str) and own in types and media_type in (None, own), "P11")
        annotations = value.get("annotations")
        for item in keyed({} if annotations is None else annotations, set(), True).values():
            worded(item)
        return value

    def layout(self) -> list[tuple[str, str]]:
        """Read index.json."""
        found: list[tuple[str, str]] = []
        for value in listed(self.head(self.file("index.json"), {"manifests"}, INDEXES, None).get("manifests")):
            descriptor = described(value)
            notes = descriptor["annotations"]
            first, second = (
                notes.get(key) for key in ("io.containerd.image.name", "org.opencontainers.image.ref.name")
            )
            second = second if not first or re.search("[/:]", second or "") else None
            here = self.follow(descriptor, 0)
            for name in filter(None, (first, second)):
                for config, _ in here:
                    self.name(name, config)
            found += here
        fits(found, "P16")
        return found

    def follow(self, descriptor: dict[str, Any], depth: int) -> list[tuple[str, str]]:
        """Return the images that a descriptor leads to."""
        media_type = descriptor["mediaType"]
        fits(media_type in INDEXES | MANIFESTS, "P16")
        digest = hex_of(descriptor["digest"])
        fits(f"blobs/sha256/{digest}" in self.members, "P18")
        content = self.blob(descriptor)
        if media_type in INDEXES:
            fits(depth < 2, "P16")
            below = listed(self.head(content, {"manifests"}, INDEXES, media_type).get("manifests"))
            images, attested = [], False
            for value in below:
                found = self.follow(described(value), depth + 1)
                fits(not found or not attested, "P19")
                attested = not found
                images += found
            fits(images, "P16")
            return images
        value = self.head(content, {"config", "layers"}, MANIFESTS, media_type)
        own = keyed(value.get("annotations") or {}, set(), True)
        config, layers = described(value.get("config")), [described(item) for item in listed(value.get("layers"))]
        fits(config["mediaType"] in CONFIGS, "P17")
        unknown = descriptor.get("platform") == ["unknown", "unknown"]
        if unknown or "vnd.docker.reference.type" in descriptor["annotations"]:
            fits(unknown and depth == 1 and layers, "P19")
            fits(all(layer["mediaType"] == "application/vnd.in-toto+json" for layer in layers), "P19")
            fits(self.config(self.blob(config))[1] == ["unknown", "unknown"], "P19")
            return []
        diff_ids, machine = self.config(self.blob(config))
        for layer in layers:
            self.blob(layer)
        kinds = self.check_layers([f"blobs/sha256/{hex_of(layer['digest'])}" for layer in layers], diff_ids)
        fits(all(LAYERS.get(layer["mediaType"], "") == kind for layer, kind in zip(layers, kinds, strict=True)), "P17")
        fits(not descriptor.get("platform") or overlap(descriptor["platform"], machine), "P20")
        notes = [key for found in (own, *(item["annotations"] for item in (config, *layers))) for key in found]
        parts = any(key in item for item in (config, *layers) for key in ("platform", "artifactType"))
        if parts or not all(key.startswith("org.opencontainers.image.") for key in notes):
            self.acted_on.append((hex_of(config["digest"]), digest))
        return [(hex_of(config["digest"]), digest)]

    def expanded_digest(self, data: memoryview, kind: str | None) -> str:
        """Return the digest of a layer's content."""
        if not kind:
            return hashlib.sha256(data).hexdigest()
        whole, left = hashlib.sha256(), len(data) * 1100
        try:
            for piece in pieces(data):
                left -= len(piece)
                fits(left + self.excess >= 0, "P21")
                whole.update(piece)
        except broken():
            fits(False, "P21")
        except Refused:
            fits(False, "P21")
        self.excess += min(left, 0)
        return whole.hexdigest()


def judge(path: Path, expected: Collection[str], alone: bool = True) -> None:
    """Refuse an archive unless it is expected, or every image in it (not alone: one of them) is."""
    with path.open("rb") as file:
        data = memoryview(mapped(file))
        if sha256(data).hex() in expected:
            fits(bytes(data[:1]) not in (b"{", b"["), "P27")
            return
        read = Images(data)
        images = read.found
        pinned = {*expected, *(config for config, manifest in images if manifest in expected)}
        right = [bool({*image} & {*expected}) or (not image[1] and image[0] in pinned) for image in images]
        need(all(right) if alone else any(right), "the bundle makes another image than is expected", 8)
        noted = [manifest for config, manifest in read.acted_on if alone or config in expected]
        fits(all(manifest in expected for manifest in noted), "P24")
