"""Vectors for each condition of profile.md: archives at its limit, and archives that break this condition alone."""

from __future__ import annotations

import json
from typing import Any

from bundles import block, record, sha256, zframe
from expected import (
    AMD,
    ARM,
    END,
    ENTRY,
    FOR_AMD,
    ID,
    INNER,
    LAYOUT,
    LEAD,
    MANIFEST,
    NOTE,
    NOTE_ID,
    OCI,
    OTHER,
    UNKNOWN,
    blob,
    blobs,
    docker,
    index,
    link,
    manifest,
    member,
    nested,
    oci,
    pax,
    refused,
    taken,
    to_json,
)
from faults import MIB
from good import config, deflated, gzipped, having
from targets import OWN

DOCKER = "application/vnd.docker."
NAME, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"
Json = dict[str, Any]


def changed(document: bytes, **values: object) -> bytes:
    """Return a JSON object with other values."""
    return to_json({**json.loads(document), **values})


def without(document: bytes, key: str) -> bytes:
    """Return a JSON object without a key."""
    return to_json({name: value for name, value in json.loads(document).items() if name != key})


def typed(descriptor: Json, media_type: str) -> Json:
    """Return a descriptor with another media type."""
    return {**descriptor, "mediaType": media_type}


def of_config(content: bytes, *layers: bytes) -> bytes:
    """Return a docker archive with its end, whose config is ``content``; its layer is ``OWN`` if none is given."""
    files = {f"l{number}": layer for number, layer in enumerate(layers or (OWN,))}
    entry = {**ENTRY, "Layers": list(files)}
    members = {"c": content, **files, "manifest.json": to_json([entry])}
    return b"".join(member(name, data) for name, data in members.items()) + END


def of_manifest(content: bytes, *more: bytes, **fields: object) -> bytes:
    """Return an OCI layout with its end, whose only manifest is ``content``."""
    return oci(index({**blob(content, "manifest.v1+json"), **fields}), content, *more) + END


def of_entries(*entries: object, **files: bytes) -> bytes:
    """Return a docker archive with its end and these entries of manifest.json; a second config ``d`` has no layers."""
    return docker(manifest_json=to_json(list(entries)), d=config(), **files) + END


def not_config(name: str, content: bytes, *rules: str) -> None:
    """Note a config that is refused."""
    refused(name, of_config(content), *rules, expect=sha256(content))


def not_manifest(name: str, content: bytes, *rules: str) -> None:
    """Note a manifest that is refused."""
    refused(name, of_manifest(content), *rules)


def not_descriptor(name: str, rule: str, **fields: object) -> None:
    """Note fields of the manifest's descriptor that are refused."""
    refused(name, oci(index({**LEAD, **fields})) + END, rule)


# --- P1 to P5: the tar ------------------------------------------------------------------------------------------------


def with_fields(**fields: bytes) -> bytes:
    """Return a docker archive with its end and an empty file with these fields."""
    return docker() + having(block("x"), **fields) + END


refused("content-beyond-the-end", docker() + block("x", size=512), "P1")
refused("header-with-bytes-at-its-end", with_fields(rest=b"\0" * 11 + b"x"), "P2")
refused("size-without-digits", with_fields(size=b" " * 11), "P2")
refused("size-with-bytes-behind-a-nul", with_fields(size=b"0\0x"), "P2")
refused("size-of-digit-8", with_fields(size=b"8"), "P2")
refused("signed-checksum", docker() + having(block("x", uname=b"\xff"), chksum=b"005405\0 ") + END, "P2")
taken(
    "fields-in-other-forms",
    having(block("x", uname=b"\xff"), size=b"           0") + having(block("y"), size=b"  0 \0 ") + docker() + END,
    "P2",
)
taken(
    "members-of-every-type",
    block(".", typeflag=b"5", mode=b"0040755\0")
    + block("./x/", typeflag=b"5", mode=bytes(8))
    + block("x/y", typeflag=b"5")
    + member("z", b"z", prefix=b"./x/y", typeflag=b"\0")
    + having(link("x/l", "../c"), mode=b"0120777\0")
    + having(link("x/h", "l", b"1"), mode=b"0100644\0")
    + having(pax("mtime=1")[:512], mode=b"0100644\0")
    + pax("mtime=1")[512:]
    + docker()
    + END,
    *("P3", "P4", "P7", "P26"),
)
for _name, _header in (
    ("hard-link-with-the-mode-of-a-symbolic-link", having(link("x", "l", b"1"), mode=b"0120777\0")),
    ("symbolic-link-with-the-mode-of-a-file", having(link("x", "l"), mode=b"0100777\0")),
    ("folder-with-the-mode-of-a-file", block("x", typeflag=b"5", mode=b"0100777\0")),
    ("folder-that-leads-elsewhere", block("x", typeflag=b"5", linkname=b"c")),
    ("pax-header-that-leads-elsewhere", having(pax("mtime=1")[:512], linkname=b"c") + pax("mtime=1")[512:]),
    ("pax-header-with-the-mode-of-a-folder", having(pax("mtime=1")[:512], mode=b"0040644\0") + pax("mtime=1")[512:]),
    ("symbolic-link-with-size", record(having(link("x", "l"), size=b"1"), b"x")),
):
    refused(_name, docker() + _header + (block("y") if "pax" in _name else b"") + END, "P3")
for _name, _fields in (
    ("name-with-bytes-behind-a-nul", {"name": b"x\0y"}),
    ("prefix-with-bytes-behind-a-nul", {"prefix": b"x\0y"}),
    ("prefix-alone", {"name": b"", "prefix": b"x"}),
    ("name-with-an-empty-part", {"name": b"x//y"}),
    ("name-with-two-dots-in-front", {"name": b"././x"}),
    ("name-with-a-part-that-ends-with-a-dot", {"name": b"x./y"}),
    ("name-with-a-space", {"name": b"x y"}),
    ("name-in-another-script", {"name": "\u00e9".encode()}),
    ("name-that-deletes", {"name": b".wh.c"}),
    ("name-that-deletes-in-a-folder", {"name": b"x/.wh.y"}),
    ("file-called-dot", {"name": b"."}),
):
    refused(_name, with_fields(**_fields), "P4")
refused("folder-with-two-slashes", docker() + block("x//", typeflag=b"5") + END, "P4")


def of_pax(content: bytes) -> bytes:
    """Return a PAX header with these records."""
    return record(block("pax", size=len(content), typeflag=b"x"), content)


_KEYS = ("atime=1", "ctime=1", "uid=1", "gid=1", "uname=\u00e9", "gname=", "mtime=-1")
LONG = pax(f"uname={'x' * (65536 - 13)}")
taken("pax-header-of-64-kib", pax(*_KEYS) + member("x", b"") + LONG + member("y", b"") + docker() + END, "P5")
refused("pax-header-too-large", pax(f"uname={'x' * (65537 - 13)}") + docker() + END, "P5")
refused("pax-header-without-a-member", docker() + pax("mtime=1") + END, "P5")
refused("pax-header-at-the-end", docker() + pax("mtime=1"), "P5")
refused("pax-header-beyond-the-end", docker() + block("pax", size=512, typeflag=b"x"), "P5")
refused("two-pax-headers", pax("mtime=1") + pax("uid=1") + docker() + END, "P5")
refused("pax-header-with-a-key-twice", pax("mtime=1", "mtime=1") + docker() + END, "P5")
refused("pax-header-with-a-comment", pax("comment=x") + docker() + END, "P5")
refused("pax-header-with-a-name", pax("path=c") + docker() + END, "P5")
refused("pax-header-of-a-sparse-file", pax("GNU.sparse.size=1") + docker() + END, "P5")
refused("pax-header-with-the-size-of-a-small-file", pax("size=1") + member("x", b"x") + docker() + END, "P5")
refused(
    "pax-header-with-the-size-of-a-folder", pax(f"size={1 << 33}") + block("x/", typeflag=b"5") + docker() + END, "P5"
)
refused("pax-record-that-is-longer-than-it-says", of_pax(b"11 uname=xy\n") + docker() + END, "P5")
refused("pax-record-with-two-lines", of_pax(b"22 uname=x\n11 mtime=1\n") + docker() + END, "P5")
refused("pax-record-with-a-nul", of_pax(b"12 uname=x\0\n") + docker() + END, "P5")
refused("pax-record-without-a-key", of_pax(b"5 =\n\0"[:4]) + docker() + END, "P5")
refused("pax-record-that-is-cut", of_pax(b"12 uname=xy") + docker() + END, "P5")
refused("pax-records-and-nuls", of_pax(b"11 mtime=1\n\0") + docker() + END, "P5")

# --- P6, P7, P25, P26: names ------------------------------------------------------------------------------------------

refused("folder-called-repositories", docker() + block("repositories/", typeflag=b"5") + END, "P25")
for _name in ("manifest.json", "repositories"):
    refused(f"file-beneath-{_name.replace('.', '-')}", oci(index(LEAD)) + member(f"{_name}/x", b"") + END, "P25")
refused("file-beneath-index-json", docker() + member("index.json/x", b"") + END, "P25")
refused("any-name-twice", docker() + member("x", b"") * 2 + END, "P6")
refused("any-name-in-two-cases", docker() + member("x", b"") + member("X", b"") + END, "P6")
refused("a-folder-and-a-file", docker() + member("x", b"") + block("x/", typeflag=b"5") + END, "P6")
refused("beneath-a-file", docker() + member("x", b"") + member("x/y", b"") + END, "P7")
refused("folders-that-are-no-members-in-two-cases", docker() + member("x/a", b"") + member("X/b", b"") + END, "P7")
refused("a-folder-that-is-no-member-and-a-file", docker() + member("x", b"") + member("X/b", b"") + END, "P7")
for _name in ("Manifest.json", "blobs/SHA256/x"):
    refused(f"{_name.lower().replace('/', '-')}-in-another-case", oci(index(LEAD)) + member(_name, b"") + END, "P25")
for _name in ("Index.json", "OCI-layout", "Repositories", "Blobs"):
    refused(f"{_name.lower()}-in-another-case", docker() + member(_name, b"") + END, "P25")
# each of the first names has 124 folders; the image has three members
_DEEP = b"".join(member("a/" * 47 + "a", b"", prefix=b"%03d/" % number + b"a/" * 75 + b"a") for number in range(524))
_MORE = b"".join(member(f"b{number}", b"") for number in range(65_536 - 125 * 524 - 3))
taken("65536-members-and-folders", docker() + _DEEP + _MORE + END, "P6")
refused("65537-members-and-folders", docker() + _DEEP + _MORE + member("one-more", b"") + END, "P6")
refused("link-name-in-another-script", docker() + link("x", "\u00e9") + END, "P26")
refused("link-to-a-folder", docker() + block("y/", typeflag=b"5") + link("x", "y") + END, "P26")
refused("hard-link-from-its-folder", docker() + member("y/a", b"") + link("y/x", "a", b"1") + END, "P26")
refused("hard-link-to-above", docker() + link("y/x", "../l", b"1") + END, "P26")
taken("link-that-goes-up-and-down", docker() + member("y/a", b"") + link("y/x", "../y/a") + END, "P26")
refused("link-with-dots-within", docker() + member("y/a", b"") + link("x", "y/../l") + END, "P26")
refused("link-to-here", docker() + link("x", "./l") + END, "P26")

# --- P8 to P12: documents ---------------------------------------------------------------------------------------------


def wide(size: int, content: bytes = ID) -> bytes:
    """Return a document of that size."""
    return content + b" " * (size - len(content))


taken("document-of-4-mib", of_config(wide(4 * MIB)), "P8", expect=sha256(wide(4 * MIB)))
not_config("document-too-large", wide(4 * MIB + 1), "P8")

_ENTRIES = to_json([ENTRY] * 32)
_LEFT = 64 * MIB - len(_ENTRIES) - 33 * 1024
_SHARED = wide(_LEFT // 32)


def shared(over: int) -> bytes:
    """Return an archive of 32 images with a single config: 64 MiB of documents with manifest.json."""
    entries = wide(len(_ENTRIES) + _LEFT % 32 + over, _ENTRIES)
    return docker(c=_SHARED, manifest_json=entries) + END


taken("documents-of-64-mib", shared(0), "P8", expect=sha256(_SHARED))
refused("documents-too-large", shared(1), "P8", expect=sha256(_SHARED))

for _name, _text in (
    ("not-a-number", b',"created":NaN}'),
    ("infinity", b',"created":-Infinity}'),
    ("invalid-utf-8", b',"author":"\xff"}'),
    ("utf-8-of-a-surrogate", b',"author":"\xed\xa0\x80"}'),
    ("a-line-feed-in-a-text", b',"author":"\n"}'),
    ("a-comma-at-the-end", b",}"),
    ("a-key-twice-inside", b',"config":{"Env":[],"Env":[]}}'),
    ("a-comment", b"/**/}"),
    ("a-zero-in-front", b',"created":01}'),
    ("the-second-half-of-a-pair", b',"author":"\\udc00"}'),
    ("the-first-half-of-a-pair-and-another-escape", b',"author":"\\ud800\\u0041"}'),
    ("its-end-missing", b""),
    ("a-text-that-is-cut", b',"author":"x'),
    ("an-unknown-escape", b',"author":"\\x41"}'),
    ("an-escape-of-a-letter-that-is-no-digit", b',"author":"\\u004g"}'),
    ("an-escape-of-three-digits", b',"author":"\\u041"}'),
):
    not_config(f"config-with-{_name}", ID[:-1] + _text, "P8")
_ESCAPED = changed(ID, extra=1).replace(b'"amd64"', b'"\\u0061md64"')[:-1] + (
    b',"author":"\\b\\f\\n\\r\\t\\"\\\\\\/\\u00e9\\u00C9\\uD83D\\uDE00"}'
)
taken("config-with-every-escape", of_config(_ESCAPED), "P8", expect=sha256(_ESCAPED))
not_config("config-with-nul-behind", ID + b"\0", "P8")
not_config("config-with-a-key-that-folds-to-a-listed-one", changed(ID, **{"hi\u017ftory": []}), "P9")
not_config("config-with-a-byte-order-mark", b"\xef\xbb\xbf" + ID, "P8")

# Everything that is allowed, in a config, in both kinds of entries, in a manifest and in an index
ALLOWED = changed(
    ID,
    **{"variant": "v1", "os.version": "1", "os.features": ["x"], "created": None, "author": [1], "extra": {"A": 1}},
    config={"Env": ["\ud83d\ude00"], "A": 1, "a": 2},
    history=[{"A": 1, "a": 2}],
)
NOTES = {"org.opencontainers.image.title": "x", "org.opencontainers.image.x": ""}
SOURCES = {f"sha256:{sha256(OWN).hex()}": {**blob(OWN, "layer.v1.tar"), "annotations": None}}
NO_LAYERS = config()
taken(
    "entry-with-everything",
    docker(
        c=ALLOWED,
        d=NO_LAYERS,
        manifest_json=to_json(
            [
                {**ENTRY, "LayerSources": SOURCES, "Parent": f"sha256:{sha256(NO_LAYERS).hex()}"},
                {"Config": "d", "RepoTags": None, "Layers": None, "LayerSources": None, "Parent": None},
                {"config": "d", "repoTags": [], "layers": None},
            ]
        ),
    )
    + END,
    *("P9", "P10", "P15"),
    expect=(sha256(ALLOWED), sha256(NO_LAYERS)),
)
NULLS = changed(ID, **{"os.version": None, "os.features": None, "variant": None})
FULL = changed(
    MANIFEST,
    config={**blob(NULLS, "config.v1+json"), "annotations": NOTES},
    layers=[{**blob(OWN, "layer.v1.tar"), "annotations": None}],
    annotations=NOTES,
)
LEADS = {**blob(FULL, "manifest.v1+json"), "platform": {**AMD, "variant": "v9", "os.version": "1", "os.features": []}}
taken(
    "index-with-everything",
    oci(
        index({**LEADS, "annotations": {"any": "x"}, "artifactType": f"{OCI}config.v1+json"}, annotations={"any": "x"}),
        *(FULL, NULLS),
    )
    + END,
    *("P9", "P10", "P11", "P17", "P24"),
    expect=sha256(NULLS),
)
NO_DIFF_IDS = changed(ID, rootfs={"type": "layers", "diff_ids": None})
BARE = without(changed(manifest(), config=blob(NO_DIFF_IDS, "config.v1+json"), layers=[]), "mediaType")
taken(
    "documents-without-media-types",
    oci(without(index(blob(BARE, "manifest.v1+json")), "mediaType"), *(BARE, NO_DIFF_IDS)) + END,
    *("P11", "P12"),
    expect=sha256(NO_DIFF_IDS),
)
GZIPPED = gzipped(deflated(OWN, 6, 6, 8), OWN)
OF_DOCKER = {
    "schemaVersion": 2,
    "mediaType": f"{DOCKER}distribution.manifest.v2+json",
    "config": typed(blob(ID, ""), f"{DOCKER}container.image.v1+json"),
    "layers": [typed(blob(GZIPPED, ""), f"{DOCKER}image.rootfs.diff.tar.gzip")],
}
OF_DOCKER_TOO = to_json({**OF_DOCKER, "layers": [typed(blob(OWN, ""), f"{DOCKER}image.rootfs.diff.tar")]})
LIST = to_json(
    {
        "schemaVersion": 2,
        "mediaType": f"{DOCKER}distribution.manifest.list.v2+json",
        "manifests": [
            typed(blob(data, ""), f"{DOCKER}distribution.manifest.v2+json")
            for data in (to_json(OF_DOCKER), OF_DOCKER_TOO)
        ],
    }
)
taken("media-types-of-docker", oci(LIST, to_json(OF_DOCKER), OF_DOCKER_TOO, GZIPPED) + END, "P11", "P17")
ZSTD = zframe(OWN)
OF_ZSTD, OF_GZIP = manifest(ZSTD, "layer.v1.tar+zstd"), manifest(GZIPPED, "layer.v1.tar+gzip")
taken(
    "layers-in-gzip-and-zstd",
    nested(*(blob(data, "manifest.v1+json") for data in (OF_ZSTD, OF_GZIP)), more=(OF_ZSTD, OF_GZIP, ZSTD, GZIPPED)),
    *("P17", "P21"),
)

refused("entry-that-is-a-text", of_entries("c"), "P9")
refused("entry-with-a-key-more", of_entries({**ENTRY, "Id": "x"}), "P9")
refused("entry-of-jib-with-a-parent", of_entries({"config": "c", "layers": ["l"], "Parent": None}), "P9")
refused("entry-without-a-config", of_entries({"RepoTags": [], "Layers": ["l"]}), "P10")
refused("entry-with-a-list-as-config", of_entries({**ENTRY, "Config": ["c"]}), "P10")
refused("entry-with-a-tag-of-null", of_entries({**ENTRY, "RepoTags": [None]}), "P10")
refused("entry-with-tags-as-a-text", of_entries({**ENTRY, "RepoTags": "x"}), "P10")
refused("entry-with-layers-as-an-object", of_entries({**ENTRY, "Layers": {"l": 1}}), "P10")
refused("entry-with-layer-sources-as-a-list", of_entries({**ENTRY, "LayerSources": [1]}), "P9")
refused("entry-with-a-parent-that-is-no-digest", of_entries({**ENTRY, "Parent": sha256(ID).hex()}), "P10")
_TAGS = [f"x:{number}" for number in range(4097)]
taken("list-of-4096-values", of_entries({**ENTRY, "RepoTags": _TAGS[:4096]}), "P10")
refused("list-of-4097-values", of_entries({**ENTRY, "RepoTags": _TAGS}), "P10")

not_config("config-with-a-key-in-another-case", changed(ID, Os="linux"), "P9")
_SHARP = changed(ID, **{"\u00df": 1, "ss": 1, "\u00e9": 1, "\u00c9": 1})
taken("config-with-keys-that-only-unicode-folds", of_config(_SHARP), "P9", expect=sha256(_SHARP))
for _one, _two in (("\u017f", "s"), ("\u212a", "k")):
    not_config(f"config-with-keys-that-fold-to-{_two}", changed(ID, **{_one: 1, _two: 1}), "P9")
not_config("config-with-a-key-in-two-cases", changed(ID, x=1, X=1), "P9")
not_config("config-that-is-a-list", b"[" + ID + b"]", "P9")
not_config("config-whose-rootfs-is-a-list", changed(ID, rootfs=[]), "P9")
not_config("config-without-a-rootfs", without(ID, "rootfs"), "P9")
_ROOT = {"type": "layers", "diff_ids": [f"sha256:{sha256(OWN).hex()}"]}
not_config("config-with-a-key-more-in-rootfs", changed(ID, rootfs={**_ROOT, "base": 1}), "P9")
not_config("config-with-rootfs-of-another-type", changed(ID, rootfs={**_ROOT, "type": "x"}), "P12")
not_config("config-with-diff-ids-as-a-text", changed(ID, rootfs={**_ROOT, "diff_ids": "x"}), "P10")
not_config("config-with-a-number-as-os", changed(ID, os=1), "P10")
not_config("config-with-a-slash-in-its-variant", changed(ID, variant="v8/x"), "P20")
not_config("config-with-a-slash-in-its-architecture", changed(ID, architecture="amd64/v2"), "P20")
for _name in ("layers", "schemaVersion", "fsLayers", "mediaType"):
    not_config(f"config-with-{_name.lower()}", changed(ID, **{_name: None}), "P12")
for _name, _digest in (
    ("in-capitals", f"sha256:{sha256(OWN).hex().upper()}"),
    ("of-63-digits", f"sha256:{sha256(OWN).hex()[:-1]}"),
    ("with-a-line-feed", f"sha256:{sha256(OWN).hex()}\n"),
    ("without-its-kind", sha256(OWN).hex()),
):
    not_config(f"diff-id-{_name}", changed(ID, rootfs={"type": "layers", "diff_ids": [_digest]}), "P10")

for _name, _value in (
    ("a-truth-value", True),
    ("below-0", -1),
    ("2-to-the-62", 1 << 62),
    ("a-fraction", float(len(MANIFEST))),
    ("a-text", str(len(MANIFEST))),
    ("null", None),
):
    not_descriptor(f"size-that-is-{_name}", "P10", size=_value)
_EXPONENT = index(LEAD).replace(b'"size":%d' % len(MANIFEST), b'"size":%de0' % len(MANIFEST))
refused("size-with-an-exponent", oci(_EXPONENT) + END, "P10")
_NOTHING = changed(ID, rootfs={"type": "layers", "diff_ids": [f"sha256:{sha256(b'').hex()}"]})
_OF_NOTHING = changed(MANIFEST, config=blob(_NOTHING, "config.v1+json"), layers=[blob(b"", "layer.v1.tar")])
_OF_NOTHING = _OF_NOTHING.replace(b'"size":0', b'"size":-0')
taken("size-of-minus-0", of_manifest(_OF_NOTHING, _NOTHING, b""), "P10", expect=sha256(_NOTHING))
not_descriptor("descriptor-with-a-key-more", "P9", urls=[])
not_descriptor("descriptor-with-data", "P9", data="")
not_descriptor("descriptor-of-another-artifact-type", "P11", artifactType="application/x")
not_descriptor("descriptor-with-a-number-as-annotation", "P10", annotations={"x": 1})
not_descriptor("descriptor-with-annotations-in-two-cases", "P9", annotations={"x": "", "X": ""})
not_descriptor("descriptor-with-annotations-as-a-list", "P9", annotations=[["x", "y"]])
not_descriptor("descriptor-with-a-platform-of-null", "P9", platform=None)
not_descriptor("descriptor-with-a-key-more-in-its-platform", "P9", platform={**AMD, "features": []})
not_descriptor("descriptor-with-a-number-as-architecture", "P10", platform={"architecture": 1})
not_descriptor("descriptor-with-a-slash-in-its-os", "P20", platform={**AMD, "os": "linux/amd64"})
not_descriptor("descriptor-without-a-media-type", "P10", mediaType=None)
not_descriptor("descriptor-of-an-image-as-config", "P16", mediaType=f"{OCI}config.v1+json")
for _name, _of in (("index", index(LEAD)), ("manifest", MANIFEST)):
    _refuse = (lambda name, data, rule: refused(name, oci(data) + END, rule)) if _name == "index" else not_manifest
    _refuse(f"{_name}-of-schema-version-1", changed(_of, schemaVersion=1), "P11")
    _refuse(f"{_name}-of-schema-version-2-0", changed(_of, schemaVersion=2.0), "P11")
    _refuse(f"{_name}-without-a-schema-version", without(_of, "schemaVersion"), "P11")
    _refuse(f"{_name}-with-a-media-type-of-null", changed(_of, mediaType=None), "P11")
    _refuse(f"{_name}-with-a-subject", changed(_of, subject=LEAD), "P9")
    _refuse(f"{_name}-with-a-number-as-annotation", changed(_of, annotations={"x": 1}), "P10")
_BELOW = changed(index(LEAD), mediaType=f"{DOCKER}distribution.manifest.list.v2+json")
refused("index-below-index-json-typed-as-dockers", oci(index(blob(_BELOW, "index.v1+json")), _BELOW) + END, "P11")
refused("index-json-typed-as-manifest", oci(index(LEAD, mediaType=f"{OCI}manifest.v1+json")) + END, "P11")
refused("index-without-a-list", oci(changed(index(LEAD), manifests=None)) + END, "P10")
not_manifest("manifest-typed-as-dockers", changed(MANIFEST, mediaType=f"{DOCKER}distribution.manifest.v2+json"), "P11")
not_manifest("manifest-without-layers", changed(MANIFEST, layers=None), "P10")
not_manifest("manifest-without-a-config", changed(MANIFEST, config=None), "P9")

# --- P13 to P18: images -----------------------------------------------------------------------------------------------

taken("old-docker-beside-manifest-json", docker(repositories=b"{}") + member("x/json", b"") + END, "P13")
for _name in ("x/json", "x/layer.tar", "x/VERSION"):
    refused(f"{_name.replace('/', '-')}-of-old-docker".lower(), oci(index(LEAD)) + member(_name, b"") + END, "P13")
_ALL = b"".join(record(block(name, size=len(data)), data) for name, data in (("index.json", index(LEAD)),))
refused("index-without-layout", blobs(ID, OWN, MANIFEST) + _ALL + END, "P13")
for _name, _layout in (("of-another-version", b'{"imageLayoutVersion":"1.0.1"}'), ("with-a-key-more", b"")):
    _layout = _layout or b'{"imageLayoutVersion":"1.0.0","x":1}'
    refused(f"layout-{_name}", blobs(ID, OWN, MANIFEST) + _ALL + member("oci-layout", _layout) + END, "P13")
_EMPTY_LAYER = {**ENTRY, "Layers": ["x"]}
refused(
    "layer-is-a-link",
    docker(_EMPTY_LAYER, c=_NOTHING, y=b"") + link("x", "y") + END,
    "P14",
    expect=sha256(_NOTHING),
)
refused(
    "layer-is-a-folder",
    docker(_EMPTY_LAYER, c=_NOTHING) + block("x/", typeflag=b"5") + END,
    "P14",
    expect=sha256(_NOTHING),
)
refused("no-entries-beside-an-index", oci(index(LEAD)) + member("manifest.json", b"[]") + END, "P15")
refused("layers-too-few", of_entries({**ENTRY, "Layers": []}), "P15")
for _name, _source in (
    ("of-another-diff-id", {f"sha256:{sha256(OTHER).hex()}": blob(OWN, "layer.v1.tar")}),
    ("of-no-digest", {"layer": blob(OWN, "layer.v1.tar")}),
    ("of-another-digest", {f"sha256:{sha256(OWN).hex()}": {**blob(OTHER, "layer.v1.tar")}}),
    ("of-another-size", {f"sha256:{sha256(OWN).hex()}": {**blob(OWN, "layer.v1.tar"), "size": 1}}),
    ("of-another-type", {f"sha256:{sha256(OWN).hex()}": blob(OWN, "config.v1+json")}),
    ("with-urls", {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar", urls=[])}),
):
    refused(f"layer-source-{_name}", of_entries({**ENTRY, "LayerSources": _source}), "P9" if "urls" in _name else "P15")
for _name, _notes in (("null", None), ("none", {})):
    _source = {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar", annotations=_notes)}
    taken(f"layer-source-with-{_name}-as-annotations", of_entries({**ENTRY, "LayerSources": _source}), "P15")
for _key, _rule in (("LayerSources", "P9"), ("Parent", "P10")):
    refused(f"entry-with-false-as-{_key.lower()}", of_entries({**ENTRY, _key: False}), _rule)
not_config("config-with-false-as-os", changed(ID, os=False), "P10")
_WITHOUT_LAYERS = {"Config": "d", "RepoTags": None, "Layers": None}
_CHILD = {**ENTRY, "Parent": f"sha256:{sha256(config()).hex()}"}
taken("parent-in-another-entry", of_entries(_CHILD, _WITHOUT_LAYERS), "P15", expect=(sha256(ID), sha256(config())))
_NAMED, _INSTEAD = (changed(MANIFEST, annotations={"org.opencontainers.image.title": text}) for text in "xy")
refused(
    "blob-of-another-digest",
    blobs(ID, OWN)
    + member(
        f"blobs/sha256/{sha256(_NAMED).hex()}", changed(MANIFEST, annotations=None)[: len(_NAMED)].ljust(len(_NAMED))
    )
    + member("index.json", index(blob(_NAMED, "manifest.v1+json")))
    + LAYOUT
    + END,
    "P16",
)
not_manifest("config-typed-as-a-layer", changed(MANIFEST, config=blob(ID, "layer.v1.tar")), "P17")
not_manifest("layer-of-another-size", changed(MANIFEST, layers=[{**blob(OWN, "layer.v1.tar"), "size": 1}]), "P16")
not_manifest("layer-of-an-unknown-type", manifest(media_type="layer.v1.tar+xz"), "P17")
refused("layer-in-gzip-typed-as-none", of_manifest(manifest(GZIPPED), GZIPPED), "P17")
refused("layer-in-zstd-typed-as-gzip", of_manifest(manifest(ZSTD, "layer.v1.tar+gzip"), ZSTD), "P17")
not_manifest("manifest-with-a-layer-more", changed(MANIFEST, layers=[blob(OWN, "layer.v1.tar")] * 2), "P15", "P17")
not_manifest("manifest-with-a-layer-less", changed(MANIFEST, layers=[]), "P15", "P17")

# --- P19, P20: attestations, platforms --------------------------------------------------------------------------------

OF_NOTE = blob(NOTE, "manifest.v1+json", platform=UNKNOWN)


def attested(content: bytes, *more: bytes, **fields: object) -> bytes:
    """Return an OCI layout with an image and an attestation with this manifest."""
    return nested(FOR_AMD, {**blob(content, "manifest.v1+json", platform=UNKNOWN), **fields}, more=(content, *more))


_CONFIG_OF_LAYERS = changed(NOTE_ID, rootfs={"type": "layers", "diff_ids": [f"sha256:{sha256(b'{}').hex()}"] * 2})
taken(
    "attestation-with-everything",
    attested(
        changed(NOTE, config=blob(_CONFIG_OF_LAYERS, "config.v1+json"), annotations={"any": "x"}),
        _CONFIG_OF_LAYERS,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    ),
    "P19",
)
_BOTH = index(blob(MANIFEST, "manifest.v1+json"), OF_NOTE)
refused(
    "image-in-the-index-behind-that-of-an-attestation",
    nested(
        blob(_BOTH, "index.v1+json"),
        blob(_ALSO := index(FOR_AMD, OF_NOTE), "index.v1+json"),
        more=(_BOTH, _ALSO, NOTE, NOTE_ID),
    ),
    "P19",
)
refused(
    "attestation-for-a-platform",
    attested(NOTE, NOTE_ID, platform=AMD, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
    "P19",
)
refused("attestation-with-another-type-of-config", attested(changed(NOTE, config=blob(NOTE_ID, "x")), NOTE_ID), "P17")
taken(
    "attestations-of-two-images",
    oci(
        index(
            blob(_ONE := index(LEAD, OF_NOTE), "index.v1+json"),
            blob(_OTHER := index(FOR_AMD, OF_NOTE, annotations={"x": "y"}), "index.v1+json"),
            LEAD,
        ),
        *(_ONE, _OTHER, NOTE, NOTE_ID),
    )
    + END,
    "P19",
)
refused("attestation-without-layers", attested(changed(NOTE, layers=[]), NOTE_ID), "P19")
_FOREIGN = member(f"blobs/sha256/{sha256(b'{}').hex()}", b"other")
taken("attestation-with-a-layer-of-other-bytes", attested(NOTE, NOTE_ID)[: -len(END)] + _FOREIGN + END, "P19")
_EMPTY = changed(NOTE_ID, variant="")
taken("attestation-of-an-empty-variant", attested(changed(NOTE, config=blob(_EMPTY, "config.v1+json")), _EMPTY), "P19")
_INNER = index(FOR_AMD, OF_NOTE)
refused("attestation-two-indexes-below", nested(blob(_INNER, "index.v1+json"), more=(_INNER, NOTE, NOTE_ID)), "P19")
_OF_TAR = {**json.loads(NOTE)["layers"][0], "mediaType": f"{OCI}layer.v1.tar"}
refused(
    "attestation-with-another-layer",
    attested(changed(NOTE, layers=[*json.loads(NOTE)["layers"], _OF_TAR]), NOTE_ID),
    "P19",
)
for _name, _platform in (("a-variant", {"variant": "v1"}), ("another-os", {"os": "linux"})):
    _config = changed(NOTE_ID, **_platform)
    refused(f"attestation-for-{_name}", attested(changed(NOTE, config=blob(_config, "config.v1+json")), _config), "P19")
refused(
    "index-behind-an-attestation", nested(OF_NOTE, blob(INNER, "index.v1+json"), more=(NOTE, NOTE_ID, INNER)), "P19"
)
for _name, _platform in (
    ("without-os", {"architecture": "arm64"}),
    ("without-architecture", {"os": "windows", "variant": "v8"}),
    ("of-empty-texts", {"os": "", "architecture": ""}),
    ("of-nothing", {}),
    ("of-null", {"os": None, "architecture": "arm64"}),
):
    taken(f"platform-{_name}", nested({**LEAD, "platform": _platform}), "P20")
refused("platform-of-another-os", nested({**LEAD, "platform": {**AMD, "os": "windows"}}), "P20")
_ANY = changed(ID, os="", architecture="amd64")
taken(
    "config-without-os",
    of_manifest(changed(MANIFEST, config=blob(_ANY, "config.v1+json")), _ANY, platform=ARM),
    "P20",
    expect=sha256(_ANY),
)

# --- P21 to P24: layers, names, annotations ---------------------------------------------------------------------------

for _name, _layer in (
    ("bzip2", b"BZh9"),
    ("xz", b"\xfd7zXZ\0"),
    ("a-skippable-frame", b"\x50\x2a\x4d\x18\0\0\0\0"),
    ("the-last-skippable-frame", b"\x5f\x2a\x4d\x18\0\0\0\0"),
):
    _content = _layer + OWN
    refused(
        f"layer-that-begins-as-{_name}", of_config(config(_content), _content), "P21", expect=sha256(config(_content))
    )
_LIKE_GZIP = b"\x1f\x8b\7" + OWN
taken(
    "layer-that-is-gzip-but-for-its-method",
    of_config(config(_LIKE_GZIP), _LIKE_GZIP),
    "P21",
    expect=sha256(config(_LIKE_GZIP)),
)
for _name, _layer in (("another-magic", b"BZ"), ("half-a-magic", b"\xfd7zXZ"), ("no-frame", b"\x4f\x2a\x4d\x18")):
    _content = _layer + OWN
    taken(
        f"layer-that-begins-as-{_name}", of_config(config(_content), _content), "P21", expect=sha256(config(_content))
    )
refused("layer-in-gzip-that-is-cut", of_config(ID, GZIPPED[:-9]), "P21")
refused("layer-in-gzip-with-a-wrong-checksum", of_config(ID, GZIPPED[:-8] + bytes(4) + GZIPPED[-4:]), "P21")
refused("layer-in-gzip-with-a-wrong-length", of_config(ID, GZIPPED[:-4] + bytes(4)), "P21")
refused("layer-in-zstd-that-is-cut", of_config(ID, ZSTD[:-1]), "P21")
for _name, _layer in (
    ("gzip-with-a-zero-behind-it", GZIPPED + bytes(1)),
    ("gzip-with-zeros-before-a-member", GZIPPED + bytes(512) + gzipped(deflated(b"", 6, 6, 8), b"")),
    ("gzip-with-a-reserved-flag", b"".join((GZIPPED[:3], b"\x20", GZIPPED[4:]))),
    ("gzip-with-a-wrong-header-checksum", b"".join((GZIPPED[:3], b"\2", GZIPPED[4:10], bytes(2), GZIPPED[10:]))),
    ("zstd-with-a-zero-behind-it", ZSTD + bytes(1)),
    ("zstd-with-a-magic-behind-it", ZSTD + ZSTD[:4]),
    ("zstd-with-a-skippable-frame-that-is-cut", ZSTD + b"\x50\x2a\x4d\x18\4\0\0\0abc"),
):
    refused(f"layer-in-{_name}", of_config(ID, _layer), "P21")
taken("layer-in-zstd-with-a-skippable-frame", of_config(ID, ZSTD + b"\x50\x2a\x4d\x18\4\0\0\0abcd"), "P21")
_TWO = gzipped(deflated(OWN[:512], 6, 6, 8), OWN[:512]) + gzipped(deflated(OWN[512:], 6, 6, 8), OWN[512:])
taken("layer-in-two-gzip-members", of_config(ID, _TWO), "P21")
taken("layer-in-two-zstd-frames", of_config(ID, zframe(OWN[:512]) + zframe(OWN[512:])), "P21")
_PLAIN = of_manifest(MANIFEST)[: -len(END)]
refused(
    "an-image-more-in-manifest-json",
    _PLAIN + of_entries(ENTRY, _WITHOUT_LAYERS),
    "P22",
    expect=(sha256(ID), sha256(config())),
)
SECOND = to_json({**json.loads(MANIFEST), "config": blob(config(), "config.v1+json"), "layers": []})
LEAD_2 = blob(SECOND, "manifest.v1+json")
TWO = (sha256(ID), sha256(config()))


def two(first: Json, second: Json) -> bytes:
    """Return an OCI layout of two images, with these annotations of their entries."""
    top = index({**LEAD, "annotations": first}, {**LEAD_2, "annotations": second})
    return oci(top, SECOND, config()) + END


refused("an-image-more-in-index-json", oci(index(LEAD, LEAD_2), SECOND, config()) + docker() + END, "P22", expect=TWO)
for _name, _first, _second in (
    ("containerd", {NAME: "x"}, {NAME: "docker.io/library/x:latest"}),
    ("ref-name", {REF: "x"}, {REF: "x"}),
    ("ref-name-behind-an-empty-one", {NAME: "", REF: "x"}, {REF: "x:latest"}),
    ("ref-name-with-a-tag", {NAME: "a", REF: "x:1"}, {NAME: "b", REF: "x:1"}),
    ("ref-name-with-a-folder", {NAME: "a", REF: "x/y"}, {NAME: "b", REF: "x/y"}),
    ("one-of-each-kind", {NAME: "x:1"}, {REF: "x:1"}),
    ("index-docker-io", {NAME: "index.docker.io/library/x"}, {NAME: "x"}),
    ("localhost", {NAME: "localhost/x"}, {NAME: "x"}),
):
    refused(f"name-of-two-by-{_name}", two(_first, _second), "P23", expect=TWO)
for _name, _first, _second in (
    ("another-tag", {NAME: "x:1"}, {NAME: "x:2"}),
    ("a-tag-alone", {NAME: "a", REF: "1"}, {NAME: "b", REF: "1"}),
    ("another-host", {NAME: "example.com/x"}, {NAME: "x"}),
    ("two-hosts", {NAME: "docker.io/localhost/x"}, {NAME: "x"}),
    ("a-port", {NAME: "example.com:1/x"}, {NAME: "example.com:1/y"}),
):
    taken(f"names-with-{_name}", two(_first, _second), "P23", expect=TWO)
_PAIR = index(LEAD, LEAD_2)
refused(
    "name-of-an-index-of-two",
    oci(index({**blob(_PAIR, "index.v1+json"), "annotations": {NAME: "x"}}), _PAIR, SECOND, config()) + END,
    "P23",
    expect=TWO,
)
refused(
    "name-of-two-in-two-documents",
    oci(
        index({**LEAD, "annotations": {NAME: "y"}}, {**LEAD_2, "annotations": {NAME: "example.com/vector:1"}}),
        SECOND,
        config(),
    )
    + of_entries({**ENTRY, "RepoTags": ["example.com/vector:1"]}, _WITHOUT_LAYERS),
    "P23",
    expect=TWO,
)
for _name, _fields in (
    ("a-config-for-a-platform", {"config": blob(ID, "config.v1+json", platform={})}),
    ("a-layer-for-a-platform", {"layers": [blob(OWN, "layer.v1.tar", platform={})]}),
    ("a-config-of-an-artifact-type", {"config": blob(ID, "config.v1+json", artifactType=f"{OCI}config.v1+json")}),
    ("a-layer-of-an-artifact-type", {"layers": [blob(OWN, "layer.v1.tar", artifactType=None)]}),
    ("an-annotation-of-another-kind", {"annotations": {"org.opencontainers.images.title": "x"}}),
):
    _content = changed(MANIFEST, **_fields)
    not_manifest(f"manifest-with-{_name}", _content, "P24")
    taken(f"manifest-with-{_name}-by-its-digest", of_manifest(_content), "P24", expect=sha256(_content))

# --- which images are judged ------------------------------------------------------------------------------------------

BY_TARGET = ["--target", f"sha256:{sha256(ID).hex()}"]
_TWO = oci(index(LEAD, LEAD_2), SECOND, config()) + END
_ACTED = changed(MANIFEST, annotations={"x": "y"})
_ACTED_2 = changed(SECOND, annotations={"x": "y"})


def acting(*manifests: bytes) -> bytes:
    """Return an OCI layout of these manifests."""
    return oci(index(*(blob(data, "manifest.v1+json") for data in manifests)), *manifests, config()) + END


taken("both-by-the-manifest", oci(index(LEAD)) + docker() + END, "S8", expect=sha256(MANIFEST))
taken("one-of-two-by-target", _TWO, "S8", arguments=BY_TARGET)
taken("one-of-two-beside-annotations", acting(MANIFEST, _ACTED_2), "P24", arguments=BY_TARGET)
refused("one-of-two", _TWO, "S8")
refused("one-of-two-by-target-and-by-id", _TWO, "S8", arguments=[*BY_TARGET, "--expect", f"sha256:{sha256(ID).hex()}"])
refused("another-by-target", acting(SECOND), "S8", arguments=BY_TARGET)
refused("one-of-two-with-annotations", acting(_ACTED, SECOND), "P24", arguments=BY_TARGET)
_NOTED = {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar", annotations={"x": "y"})}
refused(
    "by-target-with-annotations-of-a-layer-source",
    of_entries({**ENTRY, "LayerSources": _NOTED}),
    "P15",
    arguments=BY_TARGET,
)
taken(
    "one-of-two-by-target-in-an-expected-archive",
    _TWO,
    "S6",
    arguments=[*BY_TARGET, "--expect", f"sha256:{sha256(_TWO).hex()}"],
)
_ODD = _TWO + b"junk"
refused(
    "by-target-in-an-expected-archive", _ODD, "P1", arguments=[*BY_TARGET, "--expect", f"sha256:{sha256(_ODD).hex()}"]
)

# --- one diffID twice, a parent that is the image itself --------------------------------------------------------------

_SAME = config(OWN, OWN)
_STORED_TWICE = {
    **ENTRY,
    "Layers": ["l", "m"],
    "LayerSources": {f"sha256:{sha256(OWN).hex()}": blob(OWN, "layer.v1.tar")},
}
taken("layer-twice-with-a-source", docker(_STORED_TWICE, c=_SAME, m=OWN) + END, "P15", expect=sha256(_SAME))
refused(
    "layer-twice-with-the-source-of-one", docker(_STORED_TWICE, c=_SAME, m=GZIPPED) + END, "P15", expect=sha256(_SAME)
)
refused("parent-that-is-the-image-itself", docker({**ENTRY, "Parent": f"sha256:{sha256(ID).hex()}"}) + END, "P15")
