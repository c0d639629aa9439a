"""Listing and deleting bundles in a registry.

The tests cover bundles that are found, missing or refused, and a registry that gives various answers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dibundle
from dibundle.files.context import Context
from dibundle.format.header import Header
from dibundle.format.signing import Signers
from dibundle.sharing import catalog as sharing_catalog
from dibundle.sharing.catalog import StoredBundle
from dibundle.sources.access import Access
from dibundle.sources.registry import catalog, client
from tests.cli.test_json import checked
from tests.sources.conftest import REPOSITORY, Files, Program, put_image, signer
from tests.sources.server import Registry, Request, digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
ABSENT = "sha256:" + "0" * 64


def place(registry: Registry) -> str:
    return f"docker://{registry.host}/{REPOSITORY}"


def listed(dib: Program, registry: Registry, *options: object) -> dict[str, Any]:
    ended = dib("list", place(registry), "--json", *options)
    assert ended.code == 0, ended.err
    return checked("dib.list/1", ended.out)


def states(dib: Program, registry: Registry) -> dict[str, str | None]:
    """Return the missing part of each bundle, or None. The key is the bundle's first tag; without a tag, it is the
    bundle's digest.
    """
    return {(item["tags"] or [item["digest"]])[0]: item["missing"] for item in listed(dib, registry)["bundles"]}


def deleted(dib: Program, *arguments: object) -> dict[str, Any]:
    ended = dib("delete", *arguments, "--json")
    assert ended.code == 0, ended.err
    return checked("dib.delete/1", ended.out)


def of_tag(registry: Registry, tag: str) -> str:
    return digest(registry.manifests[REPOSITORY, tag][1])


def named(registry: Registry, tag: str) -> str:
    return f"{place(registry)}@{of_tag(registry, tag)}"


def fallback(registry: Registry, tag: str) -> str:
    return of_tag(registry, tag).replace(":", "-")


def entries(registry: Registry, tag: str) -> list[str]:
    """Return the digests in the list under an image's fallback tag, which replaces the referrers API."""
    _, body = registry.manifests[REPOSITORY, fallback(registry, tag)]
    return [item["digest"] for item in json.loads(body)["manifests"]]


def remove(registry: Registry, *names: str) -> None:
    """Delete manifests but not their blobs, as a registry's own garbage collection may do."""
    for body in [registry.manifests[REPOSITORY, name][1] for name in names]:
        for key in [key for key, (_, other) in registry.manifests.items() if other == body]:
            del registry.manifests[key]


def annotate(registry: Registry, tag: str, **said: str) -> str:
    """Push a tag's bundle again under the same tag, with other annotations. Return its digest."""
    kind, body = registry.manifests[REPOSITORY, tag]
    value = json.loads(body)
    value["annotations"] |= {key.replace("_", "."): text for key, text in said.items()}
    body = json.dumps(value).encode()
    for name in (tag, digest(body)):
        registry.manifests[REPOSITORY, name] = (kind, body)
    return digest(body)


@pytest.mark.parametrize("api", ["full", "bare", None])
def test_bundles_with_tags_and_without(registry: Registry, files: Files, dib: Program, api: str | None) -> None:
    registry.referrers_api, registry.bare_referrers = api is not None, api == "bare"
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    for old, new in ((1, 2), (2, 4)):
        assert dib("push", files.bundle(old, new), f"{place(registry)}:delta-{old}-{new}").code == 0
    assert dib("push", files.bundle(2, 3), place(registry)).code == 0
    found = listed(dib, registry)
    assert [(item["needs"], item["makes"], item["tags"]) for item in found["bundles"]] == [
        ("example.com/app:v1", "example.com/app:v2", ["delta-1-2"]),
        ("example.com/app:v2", "example.com/app:v3", []),
        ("example.com/app:v2", "example.com/app:v4", ["delta-2-4"]),
    ]
    for item, (old, new) in zip(found["bundles"], ((1, 2), (2, 3), (2, 4)), strict=True):
        assert item["size"] == files.bundle(old, new).stat().st_size
        assert item["makes_size"] == files.archive(new).stat().st_size
        assert (item["bases"], item["refers_to"]) == (
            [of_tag(registry, f"v{old}")],
            of_tag(registry, f"v{new}"),
        )
        assert (item["created"], item["signed_by"], item["missing"]) == (None, None, None)
    assert (found["count"], found["missing"], found["complete"]) == (3, 0, True)
    assert found["size"] == sum(item["size"] for item in found["bundles"])
    remove(registry, "v4")
    assert states(dib, registry)["delta-2-4"] == "image"


def test_the_table(stocked: Registry, files: Files, dib: Program) -> None:
    annotate(stocked, "v1-v2", org_opencontainers_image_created="2026-11-29T12:00:00Z")
    ended = dib("list", place(stocked))
    assert ended.code == 0, ended.err
    head, *rows = ended.out.splitlines()
    assert head.split() == ["SIZE", "DATE", "NEEDS", "MAKES", "TAGS", "STATE", "DIGEST"]
    # two bundles are listed: the bundle with a date, and the older bundle, which had this tag before
    assert len(rows) == 5
    (dated,) = [row for row in rows if "2026-11-29" in row]
    old, new = (of_tag(stocked, tag)[7:19] for tag in ("v1", "v2"))
    assert f"  2026-11-29  example.com/app:v1 ({old})  example.com/app:v2 ({new})  v1-v2  ok " in dated
    assert dated.split()[-1] == of_tag(stocked, "v1-v2")
    assert ended.err.endswith(f"{place(stocked)}: 5 bundles, 19 kB\n"), ended.err
    stocked.blobs.clear()
    ended = dib("list", place(stocked))
    assert all("  no bundle  " in row for row in ended.out.splitlines()[1:])
    assert f"incomplete: 5, delete with: dib delete --orphans {place(stocked)}\n" in ended.err


def test_a_repository_without_bundles(registry: Registry, files: Files, dib: Program) -> None:
    put_image(registry, files.archive(1), "v1")
    ended = dib("list", place(registry))
    assert (ended.code, ended.out) == (0, "")
    assert "/example/app: 0 bundles, 0 bytes" in ended.err
    assert deleted(dib, "--orphans", place(registry))["bundles"] == []
    assert dib("delete", "--orphans", place(registry)).err.endswith("nothing to delete\n")


def test_what_is_deleted(stocked: Registry, dib: Program) -> None:
    other = {"mediaType": MANIFEST, "digest": ABSENT, "size": 7, "artifactType": "application/x"}
    key = (REPOSITORY, fallback(stocked, "v4"))
    index = json.loads(stocked.manifests[key][1])
    index["manifests"].append(other)
    stocked.manifests[key] = (INDEX, json.dumps(index).encode())
    wanted, kept = named(stocked, "v2-v4"), of_tag(stocked, "v3-v4")
    ended = dib("delete", "--dry-run", wanted)
    assert (ended.code, ended.out.count("would be deleted, ")) == (0, 1)
    assert not stocked.log("DELETE", "")
    ended = dib("delete", wanted)
    assert ended.code == 0, ended.err
    assert f"{wanted}: deleted, " in ended.out
    assert "makes example.com/app:v4" in ended.out
    assert "1 bundle deleted; the registry's garbage collection frees up to " in ended.err
    assert (REPOSITORY, "v2-v4") not in stocked.manifests
    assert entries(stocked, "v4") == [kept, ABSENT]  # entries from other tools stay in the list
    assert set(states(dib, stocked)) == {"v1-v2", "v2-v3", "v3-v4"}
    both = deleted(dib, named(stocked, "v1-v2"), named(stocked, "v2-v3"), named(stocked, "v2-v3"))
    assert [item["makes"] for item in both["bundles"]] == ["example.com/app:v2", "example.com/app:v3"]
    assert entries(stocked, "v2") == entries(stocked, "v3") == []
    assert {key[1] for key in stocked.manifests if "v" in key[1]} == {"v1", "v2", "v3", "v4", "v3-v4"}


def test_a_bundle_is_deleted_by_a_tag(stocked: Registry, dib: Program) -> None:
    assert len(deleted(dib, f"{place(stocked)}:v1-v2")["bundles"]) == 1
    assert "v1-v2" not in states(dib, stocked)
    assert dib("delete", f"{place(stocked)}:v2").code == 2  # refused, because v2 is an image


def test_orphans(stocked: Registry, files: Files, dib: Program) -> None:
    dead = of_tag(stocked, "v3-v4")
    remove(stocked, "v2", "v3-v4")
    del stocked.blobs[REPOSITORY, digest(files.bundle(2, 3).read_bytes())]
    assert states(dib, stocked) == {"v1-v2": "image", "v2-v3": "bundle", dead: "manifest", "v2-v4": None}
    before = dict(stocked.manifests)
    ended = dib("delete", "--orphans", "--dry-run", place(stocked))
    assert (ended.code, stocked.manifests) == (0, before)
    assert ended.out.count("would be deleted") == 2
    assert f"@{dead}: would be removed from the list of {of_tag(stocked, 'v4')}, as it is gone" in ended.out
    found = deleted(dib, "--orphans", place(stocked))
    assert [item["missing"] for item in found["bundles"]].count("manifest") == 1
    assert (len(found["bundles"]), found["left"]) == (3, [])
    assert found["size"] == files.bundle(1, 2).stat().st_size  # the other bundle's bytes do not exist any more
    assert states(dib, stocked) == {"v2-v4": None}
    assert entries(stocked, "v4") == [of_tag(stocked, "v2-v4")]
    assert deleted(dib, "--orphans", place(stocked))["bundles"] == []
    assert dib("update", f"{place(stocked)}:v4", "--base", files.archive(2), "--dry-run").code == 0


def test_what_the_registry_itself_lists_though_it_is_gone(stocked: Registry, dib: Program) -> None:
    stocked.referrers_api = True
    dead = of_tag(stocked, "v3-v4")
    stocked.hook = lambda request: request.path.endswith(f"/manifests/{dead}") and request.fail(404)
    for name in [name for _, name in stocked.manifests if name.startswith("sha256-")]:
        del stocked.manifests[REPOSITORY, name]
    del stocked.manifests[REPOSITORY, "v3-v4"]
    found = deleted(dib, "--orphans", place(stocked))
    assert ([item["digest"] for item in found["left"]], found["bundles"]) == ([dead], [])
    ended = dib("delete", "--orphans", place(stocked))
    assert f"@{dead} is gone, but the registry itself lists it\n" in ended.err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("list", "app:1"), 2, "registry.not_a_name"),
        (("list", "docker://app"), 2, "registry.no_host"),
        (("list", "{place}:v1"), 2, "registry.more_than_repository"),
        (("list", "{place}@" + ABSENT), 2, "registry.more_than_repository"),
        (("list", "{place}/other"), 9, "registry.no_repository"),
        (("list", "{place}", "--require-signature"), 2, "signature.no_signers"),
        (("delete", "app@" + ABSENT), 2, "registry.not_a_name"),
        (("delete", "{place}"), 2, "delete.no_digest"),
        (("delete", "{place}@" + ABSENT), 9, "registry.not_found"),
        (("delete", "{bundle}", "{image}"), 2, "delete.no_bundle"),
        (("delete", "{bundle}", "{place}@" + ABSENT), 9, "registry.not_found"),
        (("delete", "--orphans", "{place}:v1"), 2, "registry.more_than_repository"),
        (("delete", "--orphans", "{bundle}"), 2, "registry.more_than_repository"),
        (("delete", "--orphans", "{place}", "{place}"), 2, "delete.several"),
        (("delete", "--orphans", "{place}/other"), 9, "registry.no_repository"),
    ],
)  # fmt: skip
def test_wrong_command_lines(stocked: Registry, dib: Program, arguments, exit_code: int, code: str) -> None:
    known = {"place": place(stocked), "bundle": named(stocked, "v1-v2"), "image": named(stocked, "v1")}
    before = dict(stocked.manifests)
    ended = dib(*(item.format(**known) for item in arguments), "--json")
    error = checked("dib.error/1", ended.out)
    assert (ended.code, error["code"]) == (exit_code, code), ended.err
    assert error["hint"], error
    assert stocked.manifests == before


@pytest.mark.parametrize("status", [400, 405])
def test_a_registry_that_does_not_delete(stocked: Registry, dib: Program, status: int) -> None:
    stocked.hook = lambda request: request.command == "DELETE" and request.fail(status)
    before = dict(stocked.manifests)
    remove(stocked, "v4")
    for arguments in ([named(stocked, "v1-v2")], ["--orphans", place(stocked)]):
        ended = dib("delete", *arguments)
        assert ended.code == 9
        assert f"does not allow deletion: status {status}, BROKEN: not today" in ended.err
        assert "hint: set REGISTRY_STORAGE_DELETE_ENABLED=true" in ended.err
    assert set(before) - set(stocked.manifests) == {
        (REPOSITORY, "v4"), (REPOSITORY, digest(before[REPOSITORY, "v4"][1]))
    }  # fmt: skip
    stocked.hook = lambda request: False
    stocked.deletes = False
    assert dib("delete", named(stocked, "v1-v2")).code == 9


@pytest.mark.parametrize(
    ("method", "part", "status", "code"),
    [
        ("DELETE", "/manifests/", 403, "registry.access"),
        ("DELETE", "/manifests/", 500, "registry.no_answer"),
        ("DELETE", "/manifests/", 418, "registry.refuses"),
        ("HEAD", "/blobs/", 400, "registry.refuses"),
        ("HEAD", "/manifests/", 400, "registry.refuses"),
        ("HEAD", "/blobs/", 500, "registry.no_answer"),
        ("GET", "/tags/", 400, "registry.refuses"),
        ("GET", "/manifests/sha256-", 400, "registry.refuses"),
        ("PUT", "/manifests/", 201, "registry.referrers_lost"),
        ("PUT", "/manifests/", 400, "registry.refuses"),
    ],
)  # fmt: skip
def test_a_registry_that_fails(stocked: Registry, dib: Program, method: str, part: str, status: int, code: str) -> None:
    """If a registry fails, no bundle counts as missing. A bundle is missing only if the registry reports this."""
    remove(stocked, "v4")
    before = dict(stocked.manifests)
    stocked.hook = lambda request: request.command == method and part in request.path and request.fail(status)
    ended = dib("delete", "--orphans", place(stocked), "--json")
    assert (ended.code, checked("dib.error/1", ended.out)["code"]) == (9, code), ended.err
    assert method == "PUT" or stocked.manifests == before


def test_what_another_place_does_not_have_is_not_gone(stocked: Registry, files: Files, dib: Program) -> None:
    """If only the target of a redirect lacks the content, the content does not count as missing.

    The target may be a cache or a store that temporarily lacks existing content.
    """
    before = dict(stocked.manifests)
    wanted = f"/v2/{REPOSITORY}/blobs/{digest(files.bundle(1, 2).read_bytes())}"

    def hook(request: Request) -> bool:
        if request.command == "HEAD" and request.path == wanted:
            return request.answer(307, headers={"Location": f"/elsewhere{wanted}"})
        return False

    stocked.hook = hook
    ended = dib("delete", "--orphans", place(stocked))
    assert stocked.log("HEAD", "/elsewhere")
    assert (ended.code, stocked.manifests) == (9, before), ended.err


def test_lists_are_repaired_for_what_was_deleted_before_an_error(stocked: Registry, dib: Program) -> None:
    first, second = named(stocked, "v2-v4"), named(stocked, "v3-v4")
    asked = ("DELETE", f"/v2/{REPOSITORY}/manifests/{second.rpartition('@')[2]}")
    stocked.hook = lambda request: (request.command, request.path) == asked and request.fail(403)
    assert dib("delete", first, second).code == 9
    assert entries(stocked, "v4") == [of_tag(stocked, "v3-v4")]
    assert states(dib, stocked) == {"v1-v2": None, "v2-v3": None, "v3-v4": None}


def test_a_list_that_somebody_else_writes_too(stocked: Registry, dib: Program) -> None:
    """If a second client overwrites the list, dib removes the deleted entries again. The second client's list still has
    the deleted entries.
    """
    key = (REPOSITORY, fallback(stocked, "v4"))
    old = stocked.manifests[key]
    writes = []

    def hook(request: Request) -> bool:
        if request.command == "PUT" and len(writes) < 2:
            writes.append(request.path)
            stocked.manifests[key] = old
            return request.answer(201)
        return False

    stocked.hook = hook
    assert dib("delete", named(stocked, "v2-v4")).code == 0
    assert entries(stocked, "v4") == [of_tag(stocked, "v3-v4")]


def test_what_cannot_be_read_is_passed_over(stocked: Registry, dib: Program) -> None:
    stocked.manifests[REPOSITORY, "chart"] = ("application/x-strange", b"{}")
    stocked.manifests[REPOSITORY, "text"] = (MANIFEST, b"no JSON")
    # this is not a valid tag; its URL would lead outside the repository
    stocked.manifests[REPOSITORY, "../../other"] = (MANIFEST, b"{}")
    layer = {"mediaType": "application/vnd.dib.bundle.v1", "digest": ABSENT, "size": -1}
    stocked.manifests[REPOSITORY, "negative"] = (MANIFEST, json.dumps({"layers": [layer]}).encode())
    listing = {"manifests": [{"digest": ABSENT, "artifactType": layer["mediaType"]}, 7, {"digest": [], "size": {}}]}
    stocked.manifests[REPOSITORY, "sha256-" + "1" * 64] = (INDEX, json.dumps(listing).encode())
    ended = dib("list", place(stocked), "--json")
    assert ended.code == 0, ended.err
    assert "skipped, as they cannot be read: chart, " in ended.err
    assert "text" in ended.err
    found = json.loads(ended.out)
    assert (found["count"], found["missing"]) == (5, 1)
    assert not stocked.log("GET", "other")
    assert deleted(dib, "--orphans", place(stocked))["bundles"][0]["refers_to"] == "sha256:" + "1" * 64


def test_annotations_are_text_that_anybody_wrote(stocked: Registry, dib: Program) -> None:
    annotate(
        stocked,
        "v1-v2",
        dibundle_makes="\x1b[31mred\n" + "x" * 2000,
        dibundle_needs="\u202eold",
        dibundle_makes_size="\u0661",
        org_opencontainers_image_created="2026-11-29T12:00:00Z\x1b[0m",
    )
    ended = dib("list", place(stocked))
    assert "\x1b" not in ended.out + ended.err
    assert len(ended.out.splitlines()) == 6
    assert all(len(line) < 400 for line in ended.out.splitlines())
    assert "\\u202eold" in ended.out
    (odd,) = [item for item in listed(dib, stocked)["bundles"] if "red" in item["makes"]]
    assert (len(odd["makes"]), odd["makes_size"], odd["created"]) == (1000, None, None)
    ended = dib("delete", f"{place(stocked)}@{odd['digest']}")
    assert (ended.code, "\x1b" in ended.out) == (0, False)


@pytest.mark.parametrize(
    ("limit", "value", "most"),
    [("MAX_TAGS", 1, 4), ("MAX_BUNDLES", 2, 2), ("MAX_IMAGES", 1, 2), ("MAX_ENTRIES", 1, 1), ("MAX_LISTS", 3000, 2)],
)
def test_limits(stocked: Registry, dib: Program, monkeypatch, limit: str, value: int, most: int) -> None:
    for tag in ("v1-v2", "v2-v3", "v3-v4", "v2-v4") if limit != "MAX_BUNDLES" else ():
        del stocked.manifests[REPOSITORY, tag]
    monkeypatch.setattr(catalog, limit, value)
    ended = dib("list", place(stocked), "--json")
    found = checked("dib.list/1", ended.out)
    assert found["complete"] is False
    assert found["count"] <= most
    assert f"/{REPOSITORY} has more than the limits allow: " in ended.err


def test_tags_without_end(stocked: Registry, dib: Program) -> None:
    numbers = iter(range(10**6))

    def hook(request: Request) -> bool:
        if "/tags/" not in request.path:
            return False
        body = json.dumps({"tags": [f"t{next(numbers)}"]}).encode()
        return request.answer(200, body, {"Link": f'<{request.path}>; rel="next"'})

    stocked.hook = hook
    ended = dib("list", place(stocked), "--json")
    assert (ended.code, json.loads(ended.out)["complete"]) == (0, False), ended.err
    assert len(stocked.log("GET", "/tags/")) == 16


def test_tags_come_in_pages(stocked: Registry, dib: Program, monkeypatch) -> None:
    monkeypatch.setattr("dibundle.sources.registry.client._TAGS_IN_PAGE", 2)
    assert set(states(dib, stocked)) == {"v1-v2", "v2-v3", "v3-v4", "v2-v4"}
    assert len(stocked.log("GET", "/tags/")) > 3


def test_an_image_of_several_platforms_leads_to_bundles(registry: Registry, files: Files, dib: Program) -> None:
    registry.referrers_api = True
    for number in (1, 2):
        put_image(registry, files.archive(number), f"v{number}")
    assert dib("push", files.bundle(1, 2), place(registry)).code == 0
    entry = {
        "mediaType": MANIFEST,
        "digest": of_tag(registry, "v2"),
        "size": len(registry.manifests[REPOSITORY, "v2"][1]),
    }
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    registry.manifests[REPOSITORY, "v2"] = (INDEX, index)
    assert listed(dib, registry)["count"] == 1


def test_who_signed(registry: Registry, files: Files, dib: Program, tmp_path: Path) -> None:
    allowed, signed = signer(tmp_path), tmp_path / "2-4.dib"
    signed.write_bytes(files.bundle(2, 4).read_bytes())
    assert dib("sign", "--key", tmp_path / "key", signed).code == 0
    for number in range(1, 5):
        put_image(registry, files.archive(number), f"v{number}")
    for bundle, tag in ((signed, "signed"), (files.bundle(1, 2), "unsigned")):
        assert dib("push", bundle, f"{place(registry)}:{tag}").code == 0
    annotate(registry, "signed", dibundle_makes="innocent:1", dibundle_makes_size="1")
    damaged = bytearray(files.bundle(2, 3).read_bytes())
    damaged[0] ^= 1
    registry.blobs[REPOSITORY, digest(bytes(damaged))] = bytes(damaged)
    manifest = json.loads(registry.manifests[REPOSITORY, "unsigned"][1])
    manifest["layers"][0] |= {"digest": digest(bytes(damaged)), "size": len(damaged)}
    registry.manifests[REPOSITORY, "damaged"] = (MANIFEST, json.dumps(manifest).encode())
    registry.asked.clear()
    found = {item["tags"][0]: item for item in listed(dib, registry)["bundles"] if item["tags"]}
    assert not registry.log("GET", "/blobs/")
    assert found["signed"]["makes"] == "innocent:1"
    options = ("--allowed-signers", allowed)
    found = {item["tags"][0]: item for item in listed(dib, registry, *options)["bundles"] if item["tags"]}
    assert found["signed"]["signed_by"].startswith("release@example.com (key SHA256:")
    assert found["signed"]["makes"] == "example.com/app:v4"  # names from the signed manifest
    assert found["signed"]["makes_size"] == files.archive(4).stat().st_size
    assert found["unsigned"]["signed_by"] is found["damaged"]["signed_by"] is None
    registry.blobs.pop((REPOSITORY, digest(files.bundle(1, 2).read_bytes())))
    ended = dib("list", place(registry), *options)
    assert "SIGNED BY" in ended.out.splitlines()[0]
    assert "release@example.com" in ended.out
    (gone,) = [line for line in ended.out.splitlines() if " unsigned " in line]
    assert "no bundle" in gone


def test_a_signed_bundle_under_many_names_takes_little(
    stocked: Registry, files: Files, dib: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the fix, dib kept a copy of a signed bundle's texts for each of 4,096 manifests."""
    allowed, signed = signer(tmp_path), tmp_path / "2-4.dib"
    signed.write_bytes(files.bundle(2, 4).read_bytes())
    assert dib("sign", "--key", tmp_path / "key", signed).code == 0
    for number in range(5):
        assert dib("push", signed, f"{place(stocked)}:signed{number}").code == 0
        annotate(stocked, f"signed{number}", dibundle_makes=f"other:{number}")
    access = Access(signers=Signers(allowed=str(allowed)))

    def found() -> list[StoredBundle]:
        with Context() as context:
            listed = sharing_catalog.list_bundles(place(stocked), access, context)
        return [item for item in listed.bundles if any(tag.startswith("signed") for tag in item.tags)]

    monkeypatch.setattr(catalog, "_MAX_TEXT", 10)
    assert [item.makes for item in found() if item.signed_by] == ["example.co"] * 5
    with signed.open("rb") as file:
        size = Header.decode(file.read(64)).size
    monkeypatch.setattr(sharing_catalog, "MAX_DECODED", 2 * size)
    assert sum(bool(item.signed_by) for item in found()) <= 3


def test_a_list_of_referrers_that_is_cut_is_not_complete(stocked: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked.referrers_api = True
    assert dibundle.list_bundles(place(stocked)).is_complete
    monkeypatch.setattr(client, "MAX_REFERRERS", 1)
    cut = dibundle.list_bundles(place(stocked))
    assert not cut.is_complete


def test_the_functions(stocked: Registry, files: Files) -> None:
    found = dibundle.list_bundles(place(stocked))
    assert (found.name, len(found.bundles), found.is_complete) == (place(stocked), 4, True)
    assert found.size == sum(files.bundle(*pair).stat().st_size for pair in ((1, 2), (2, 3), (3, 4), (2, 4)))
    names = [item.name for item in found.bundles]
    assert [item.name for item in dibundle.delete_bundles(names, dry_run=True).deleted] == names
    assert dibundle.delete_bundles(names[0]).size == found.bundles[0].size
    remove(stocked, "v4")
    assert len(dibundle.delete_orphans(place(stocked), dry_run=True).deleted) == 2
    assert len(dibundle.delete_orphans(place(stocked)).deleted) == 2
    assert len(dibundle.list_bundles(place(stocked)).bundles) == 1
    with pytest.raises(dibundle.UsageError):
        dibundle.list_bundles("app")
