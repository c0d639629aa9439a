"""The vectors of profile.md: archives that are taken where an image is expected, and those with other readings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from bundles import Bundle, Frame, Target, block, msgpack, record, sha256, zframe
from faults import MIB, bad
from good import GOOD, Good, archive, config, deflated, gzipped, having, plain
from targets import OWN, whole

OCI = "application/vnd.oci.image."
OTHER = OWN[:600] + b"?" + OWN[601:]
ID = config(OWN)
END = bytes(1024)
Members = list[tuple[bytes, bytes]]


def blob(data: bytes, media_type: str, **more: object) -> dict[str, Any]:
    """Return a descriptor."""
    return {"mediaType": f"{OCI}{media_type}", "digest": f"sha256:{sha256(data).hex()}", "size": len(data), **more}


def to_json(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def member(name: str, data: bytes, **fields: bytes) -> bytes:
    """Return a file."""
    return record(block(name, size=len(data), **fields), data)


def blobs(*contents: bytes) -> bytes:
    """Return blobs as files."""
    return b"".join(member(f"blobs/sha256/{sha256(data).hex()}", data) for data in contents)


def manifest(layer: bytes = OWN, media_type: str = "layer.v1.tar", **more: object) -> bytes:
    """Return a manifest of an image of one layer."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": blob(ID, "config.v1+json"),
            "layers": [blob(layer, media_type, **more)],
        }
    )


def index(*descriptors: dict[str, Any], **more: object) -> bytes:
    """Return an index."""
    return to_json({"schemaVersion": 2, "mediaType": f"{OCI}index.v1+json", "manifests": list(descriptors), **more})


LAYOUT = member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
MANIFEST = manifest()
LEAD = blob(MANIFEST, "manifest.v1+json")
ENTRY = {"Config": "c", "RepoTags": ["example.com/vector:1"], "Layers": ["l"]}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}
NOTE_ID = to_json({**UNKNOWN, "rootfs": {"type": "layers", "diff_ids": []}})


def note(of: bytes = NOTE_ID) -> bytes:
    """Return the manifest of an attestation, with the config ``of``."""
    statement = {**blob(b"{}", ""), "mediaType": "application/vnd.in-toto+json"}
    fields = {"schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json", "config": blob(of, "config.v1+json")}
    return to_json({**fields, "layers": [statement]})


NOTE = note()
ARM = {"os": "linux", "architecture": "arm64"}
ABSENT = blob(b"absent", "manifest.v1+json", platform=ARM)
AMD = {"os": "linux", "architecture": "amd64"}
FOR_AMD = {**LEAD, "platform": AMD}


def docker(entry: object = ENTRY, **files: bytes) -> bytes:
    """Return a docker archive without its end."""
    return b"".join(
        member(name.replace("_", "."), data)
        for name, data in {"c": ID, "l": OWN, "manifest_json": to_json([entry]), **files}.items()
    )


def oci(top: bytes, *more: bytes) -> bytes:
    """Return an OCI layout without its end: the index, the image's blobs, others."""
    every = list(dict.fromkeys((ID, OWN, MANIFEST, *more)))
    return blobs(*every) + member("index.json", top) + LAYOUT


def nested(
    *descriptors: dict[str, Any], more: tuple[bytes, ...] = (), other: Mapping[str, bytes] = MappingProxyType({})
) -> bytes:
    """Return an OCI layout whose index.json leads to an index; ``other`` files that nothing refers to."""
    inner = index(*descriptors)
    others = b"".join(member(name, data) for name, data in other.items())
    return oci(index(blob(inner, "index.v1+json")), inner, *more) + others + END


def made(out: bytes) -> Bundle:
    """Return a bundle that makes an archive, and says that it is the expected image."""
    frame = plain(out) if len(out) < MIB // 4 else Frame(zframe(out), len(out), 1, codec=1)
    bundle = Bundle([frame], [Target(out, whole(out), 1)])
    bundle.more = {2: msgpack([[], [[[["example.com/vector:1"], sha256(ID), sha256(OWN)]]], []])}
    return bundle


def taken(
    name: str,
    out: bytes,
    *tests: str,
    expect: bytes | tuple[bytes, ...] | None = None,
    arguments: list[str] | None = None,
) -> None:
    """Note an archive that is taken."""
    GOOD[f"expected-{name}"] = Expected(lambda: made(out), tests, (), arguments or expecting(expect))


def expecting(expect: bytes | tuple[bytes, ...] | None) -> list[str]:
    """Return the options for expected digests, ``ID`` if none is given."""
    digests = expect if isinstance(expect, tuple) else (expect or sha256(ID),)
    return [word for digest in digests for word in ("--expect", f"sha256:{digest.hex()}")]


def _called_an_id() -> Bundle:
    """Return a bundle that calls the digest of its target the ID of an image, too."""
    bundle = made(docker() + END)
    bundle.more = {2: msgpack([[], [[[["example.com/vector:1"], sha256(docker() + END), sha256(OWN)]]], []])}
    return bundle


class Expected(Good):
    """A case with an expected image."""

    def __init__(
        self, make: Callable[[], Bundle], tests: tuple[str, ...], bases: tuple[str, ...], wanted: list[str]
    ) -> None:
        super().__init__(make, tests, bases)
        self.wanted = wanted

    def arguments(self, bundle: Bundle) -> list[str]:
        """Return what comes before the bases."""
        del bundle
        return self.wanted


def refused(
    name: str,
    out: bytes,
    *rules: str,
    expect: bytes | tuple[bytes, ...] | None = None,
    arguments: list[str] | None = None,
) -> None:
    """Note an archive that is refused."""

    def change(bundle: Bundle) -> None:
        new = made(out)
        bundle.frames, bundle.targets = new.frames, new.targets

    given = arguments or expecting(expect)
    bad(f"unexpected-{name}", "expected-docker-archive", *rules, code=8, base="", arguments=given)(change)


def link(name: str, to: str, flag: bytes = b"2") -> bytes:
    """Return a link."""
    return block(name, typeflag=flag, linkname=to.encode())


def pax(*records: str) -> bytes:
    """Return a PAX header."""
    texts = [f" {item}\n".encode() for item in records]
    sizes = [next(n for n in range(len(text), len(text) + 9) if len(f"{n}") + len(text) == n) for text in texts]
    content = b"".join(b"%d%s" % pair for pair in zip(sizes, texts, strict=True))
    return record(block("pax", size=len(content), typeflag=b"x"), content)


taken("docker-archive", docker() + END, "P1", "P2", "P13", "P15")
taken("docker-archive-of-jib", docker({"config": "c", "repoTags": None, "layers": ["l"]}) + END, "P9")
GOOD["target-whose-digest-is-called-an-id-too"] = Expected(
    _called_an_id, ("M123",), (), ["--target", f"sha256:{sha256(docker() + END).hex()}"]
)
taken("oci-layout", oci(index(LEAD)) + END, "P13", "P16", "P17")
taken("by-its-manifest", oci(index(LEAD)) + END, "P16", expect=sha256(MANIFEST))
taken("both", oci(index(LEAD)) + docker() + END, "P22")
taken(
    "attestation", nested(FOR_AMD, blob(NOTE, "manifest.v1+json", platform=UNKNOWN), more=(NOTE, NOTE_ID)), "P18", "P19"
)
taken("gzip", docker(l=gzipped(deflated(OWN, 6, 6, 8), OWN)) + END, "P21")
taken("times-by-pax", pax("mtime=1.5") + docker() + END, "P5")
taken("links-beside", link("x/latest", "../l") + docker() + END, "P3", "P14")
taken("no-end", docker(), "P1")
taken("by-its-own-digest", docker() + b"junk", "P1", expect=sha256(docker() + b"junk"))

ACTED_ON = to_json({**json.loads(MANIFEST), "annotations": {"run.oci.handler": "x"}})
TOLD = to_json({**json.loads(MANIFEST), "annotations": {"org.opencontainers.image.title": "x"}})
taken("annotations-of-texts", oci(index(blob(TOLD, "manifest.v1+json")), TOLD) + END, "P24")
taken(
    "annotations-by-its-manifest",
    oci(index(blob(ACTED_ON, "manifest.v1+json")), ACTED_ON) + END,
    "P24",
    expect=sha256(ACTED_ON),
)

refused("another-image", archive({"c": config(OTHER), "l": OTHER}, ["l"], "c"), "S8")
refused("behind-the-end", docker() + END + docker(), "P1")
refused("not-in-blocks", docker() + END + b"\0", "P1")
refused("checksum", docker() + record(block("x", chksum=b"000001\0 ")) + END, "P2")
refused("old-magic", docker() + block("x", magic=b"") + END, "P2")
refused(
    "size-in-base-256",
    docker() + having(block("x"), size=b"\x80" + bytes(11)) + END,
    "P2",
)
refused("sparse", docker() + record(block("x", typeflag=b"S")) + END, "P3")
for _name, _mode in (
    ("link", b"0120777\0"),
    ("folder", b"0040755\0"),
    ("device", b"0060644\0"),
    ("pipe", b"0010644\0"),
):
    refused(f"mode-of-a-{_name}", docker() + member("x", b"[]", mode=_mode) + END, "P3")
refused("mode-in-base-256", docker() + member("x", b"[]", mode=b"\x80" + bytes(7)) + END, "P2", "P3")
refused("file-that-leads-elsewhere", docker() + member("x", b"[]", linkname=b"m2") + END, "P3")
taken(
    "modes-with-a-type", docker() + member("x", b"[]", mode=b"0100644\0") + member("y", b"", mode=bytes(8)) + END, "P3"
)
refused("folder-with-size", docker() + record(block("x/", size=3, typeflag=b"5"), b"abc") + END, "P3")
refused("dot-dot", docker() + member("x/../manifest.json", b"[]") + END, "P4")
refused("absolute", docker() + member("/manifest.json", b"[]") + END, "P4")
refused("slash-behind", docker() + member("manifest.json/", b"[]") + END, "P4")
refused("gnu-prefix", docker() + member("x", b"", magic=b"ustar  \0", prefix=b"y") + END, "P4")
refused("renamed", docker() + pax("path=manifest.json") + member("x", b"[]") + END, "P5")
for _name, _record in (
    ("a-length-of-many-digits", b"00000000020 uname=x\n"),
    ("a-length-that-swallows", b"00000003000 uname=xxxxxxxxxxx\n"),
    ("a-length-with-a-sign", b"+12 uname=x\n"),
    ("a-size-of-many-digits", b"38 size=00000000000000000008589934592\n"),
):
    _header = block("pax", size=len(_record), typeflag=b"x")
    refused(_name, docker() + record(_header, _record) + member("x", b"[]") + END, "P5")
_LONE = b"11 mtime=1\n"
for _name, _first in (
    ("begins-as-zstd", b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00"),
    ("begins-as-gzip", b"\x1f\x8b\x08\x04"),
    ("begins-as-xz", b"\xfd7zXZ"),
):
    _header = block(_first, size=len(_LONE), typeflag=b"x")
    refused(_name, record(_header, _LONE) + docker() + END, "P5")
_header = block("pax", size=len(_LONE), typeflag=b"x", prefix=b"\x1f\x8b\x08")
refused("prefix-of-a-pax-header", record(_header, _LONE) + docker() + END, "P5")
refused("begins-as-bzip2", member("BZh91AY", b"") + docker() + END, "P1")
refused("resized", docker() + pax("size=0") + member("x", b"[]") + END, "P5")
refused("twice", docker() + member("manifest.json", b"[]") + END, "P6")
refused("twice-by-dot", docker() + member("./manifest.json", b"[]") + END, "P6")
refused("twice-by-case", docker() + member("Manifest.json", b"[]") + END, "P6")
refused("another-case", docker() + member("Index.json", b"{}") + END, "P25")
refused("another-case-above", docker() + member("Blobs/x", b"{}") + END, "P25")
refused("short-name", docker() + member("MANIFE~1.JSO", b"x") + END, "P4")
refused("config-alone", ID, "P27")
refused("config-by-its-digest", ID, "P27", arguments=["--target", f"sha256:{sha256(ID).hex()}"])
refused("dot-behind", docker() + member("index.json.", b"{}") + END, "P4")
refused("link-to-elsewhere", docker() + link("x", "/etc/hostname") + END, "P26")
refused("link-to-above", docker() + link("x", "../../l") + END, "P26")
refused("link-to-nothing", docker() + link("x", "absent") + END, "P26")
refused("link-to-a-link", docker() + link("x", "l") + link("y", "x") + END, "P26")
refused("hard-link-to-elsewhere", docker() + link("x", "/etc/hostname", b"1") + END, "P26")
refused("hard-link-in-another-spelling", docker() + link("x", "./l", b"1") + END, "P26")
refused("link-by-a-link", docker() + link("y/x", "../l") + link("z", "y/x/../../l") + END, "P26")
refused("link-behind-a-nul", docker() + record(block("x", typeflag=b"2", linkname=b"a\0/../l")) + END, "P26")
taken("links-to-files", docker() + link("x", "l", b"1") + link("y/z", "../l") + END, "P26")
refused("file-and-link", docker() + link("manifest.json", "x") + END, "P6")
refused("beneath-a-link", link("x", "l") + member("x/z", b"") + docker() + END, "P7")
refused("folder-in-two-cases", docker() + block("X", typeflag=b"5") + member("x/z", b"") + END, "P7")
refused("space-before", docker(manifest_json=b" " + to_json([ENTRY])) + END, "P8")
refused("json-behind", docker(manifest_json=to_json([ENTRY]) + b"[]") + END, "P8")
refused(
    "key-twice", docker(manifest_json=to_json([ENTRY]).replace(b'"RepoTags"', b'"Config":"c","RepoTags"')) + END, "P8"
)
refused("half-a-surrogate", docker(manifest_json=to_json([{**ENTRY, "RepoTags": ["\ud800"]}])) + END, "P8")
refused("key-in-another-case", docker({**ENTRY, "CONFIG": "c"}) + END, "P9")
refused("key-with-long-s", docker({**ENTRY, "Layer\u017f": ["l"]}) + END, "P9")
refused("urls", oci(index(blob(m := manifest(urls=["http://127.0.0.1/"]), "manifest.v1+json")), m) + END, "P9")
refused("sha512", oci(index({**LEAD, "digest": "sha512:" + hashlib.sha512(MANIFEST).hexdigest()})) + END, "P10")
refused("manifest-typed-as-index", oci(index({**LEAD, "mediaType": f"{OCI}index.v1+json"})) + END, "P9")
CONFIG_AND_INDEX = ID[:-1] + b',"manifests":[]}'
refused("config-is-an-index", docker(c=CONFIG_AND_INDEX) + END, "P12", expect=sha256(CONFIG_AND_INDEX))
refused("no-document", member("c", ID) + END, "P13")
refused("layout-without-index", docker() + LAYOUT + END, "P13")
refused("old-docker", oci(index(LEAD)) + member("repositories", b"{}") + END, "P13")
refused("config-is-a-link", docker({**ENTRY, "Config": "x"}) + link("x", "c") + END, "P14")
refused("layer-is-absent", docker({**ENTRY, "Layers": ["x"]}) + END, "P14")
refused("layers-too-many", docker({**ENTRY, "Layers": ["l", "l"]}) + END, "P15")
refused("parent", docker({**ENTRY, "Parent": f"sha256:{'0' * 64}"}) + END, "P15")
refused("blob-of-another-size", oci(index({**LEAD, "size": 1})) + END, "P16")
refused("no-image", oci(index()) + END, "P16")
ALONE = index()
refused("index-without-an-image", oci(index(LEAD, blob(ALONE, "index.v1+json")), ALONE) + END, "P16")
TWICE = index(blob(INNER := index(LEAD), "index.v1+json"))
taken("index-below-an-index", oci(index(blob(TWICE, "index.v1+json")), TWICE, INNER) + END, "P16")
THRICE = index(blob(TWICE, "index.v1+json"))
refused("indexes-too-deep", oci(index(blob(THRICE, "index.v1+json")), THRICE, TWICE, INNER) + END, "P16")
refused(
    "type-of-a-layer",
    oci(index(blob(m := manifest(media_type="layer.v1.tar+gzip"), "manifest.v1+json")), m) + END,
    "P17",
)
refused("absent", nested(FOR_AMD, ABSENT), "P18")
refused("absent-attestation", nested(FOR_AMD, blob(NOTE, "manifest.v1+json", platform=UNKNOWN)), "P18")
refused("absent-but-here-by-another-name", nested(FOR_AMD, ABSENT, other={"x/0": b"absent"}), "P18")
AS_IMAGE = note(of=ID)
refused(
    "attestation-with-the-config-of-an-image",
    nested(FOR_AMD, blob(AS_IMAGE, "manifest.v1+json", platform=UNKNOWN), more=(AS_IMAGE,)),
    "P19",
)
refused(
    "attestation-whose-config-is-absent",
    nested(FOR_AMD, blob(NOTE, "manifest.v1+json", platform=UNKNOWN), more=(NOTE,)),
    *("P14", "P19"),
)
refused(
    "image-behind-an-attestation",
    nested(blob(NOTE, "manifest.v1+json", platform=UNKNOWN), FOR_AMD, more=(NOTE, NOTE_ID)),
    "P19",
)
PLACED = to_json({**json.loads(MANIFEST), "config": blob(ID, "config.v1+json", platform=ARM)})
refused("platform-of-a-config", oci(index(blob(PLACED, "manifest.v1+json")), PLACED) + END, "P24")
refused("attestation-on-top", oci(index(LEAD, blob(NOTE, "manifest.v1+json", platform=UNKNOWN)), NOTE) + END, "P19")
refused(
    "image-as-attestation",
    nested(blob(m := manifest(OTHER), "manifest.v1+json", platform=UNKNOWN), LEAD, more=(m, OTHER)),
    "P19",
)
refused("platform-of-another", nested({**LEAD, "platform": ARM}), "P20")
refused("layer-of-another", docker(l=OTHER) + END, "P21")
refused("layer-in-xz", docker(l=b"\xfd7zXZ\0" + bytes(100)) + END, "P21")
refused(
    "two-readings",
    oci(index(LEAD)) + archive({"c": config(OTHER), "l": OTHER}, ["l"], "c"),
    "P22",
    expect=(sha256(ID), sha256(config(OTHER))),
)
refused(
    "name-of-two",
    b"".join(member(name, data) for name, data in (("c", ID), ("l", OWN), ("d", config())))
    + member("manifest.json", to_json([ENTRY, {**ENTRY, "Config": "d", "Layers": []}]))
    + END,
    "P23",
    expect=(sha256(ID), sha256(config())),
)
for _number, _name in enumerate(("docker.io/library/NAME", "index.docker.io/NAME:latest", "localhost/NAME")):
    refused(
        f"name-of-two-in-another-spelling-{_number}",
        b"".join(member(name, data) for name, data in (("c", ID), ("l", OWN), ("d", config())))
        + member(
            "manifest.json",
            to_json(
                [
                    {**ENTRY, "RepoTags": ["name"]},
                    {**ENTRY, "RepoTags": [_name.replace("NAME", "name")], "Config": "d", "Layers": []},
                ]
            ),
        )
        + END,
        "P23",
        expect=(sha256(ID), sha256(config())),
    )
refused("annotations-of-a-manifest", oci(index(blob(ACTED_ON, "manifest.v1+json")), ACTED_ON) + END, "P24")
refused(
    "annotations-beside-an-expected-manifest",
    nested(LEAD, blob(ACTED_ON, "manifest.v1+json"), more=(ACTED_ON,)),
    "P24",
    expect=(sha256(MANIFEST), sha256(ID)),
)
MANIFEST_OF_LABELS = manifest(annotations={"containerd.io/snapshot/remote/stargz.reference": "example.com/evil"})
refused(
    "annotations-of-a-layer",
    oci(index(blob(MANIFEST_OF_LABELS, "manifest.v1+json")), MANIFEST_OF_LABELS) + END,
    "P24",
)
OF_CONFIG = {**json.loads(MANIFEST), "config": blob(ID, "config.v1+json", annotations={"x": "y"})}
refused("annotations-of-a-config", oci(index(blob(m := to_json(OF_CONFIG), "manifest.v1+json")), m) + END, "P24")
SOURCES = {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar", annotations={"x": "y"})}
refused("annotations-of-a-layer-source", docker({**ENTRY, "LayerSources": SOURCES}) + END, "P15")
_SLASHED = {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar", platform={"os": "a/b", "architecture": "c"})}
refused("slash-in-the-platform-of-a-layer-source", docker({**ENTRY, "LayerSources": _SLASHED}) + END, "P20")
