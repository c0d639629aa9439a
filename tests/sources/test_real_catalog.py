"""Listing and deleting in Debian's docker-registry, with its own garbage collection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import engines, needs
from tests.program import dib, succeed
from tests.sources.conftest import REPOSITORY, Files

pytestmark = pytest.mark.registry


@pytest.fixture
def served(files: Files) -> Iterator[tuple[str, Path]]:
    """Return the repository and configuration of a registry that allows deletion, with three images and bundles."""
    with engines.registry_with_config(deletes=True) as (host, config):
        name = f"docker://{host}/{REPOSITORY}"
        stock(name, files)
        yield name, config


def stock(name: str, files: Files) -> None:
    needs.programs("skopeo")
    for number in range(2, 5):
        source = f"oci-archive:{files.archive(number)}"
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", source, f"{name}:v{number}"]
        subprocess.run(copy, check=True)
    succeed("push", files.bundle(2, 3), f"{name}:v2-v3")
    succeed("push", files.bundle(3, 4), f"{name}:v3-v4")
    succeed("push", files.bundle(2, 4), name)


def state(name: str) -> dict[str, str | None]:
    """Return the missing part of each bundle, or None, by tag. A bundle without a tag has the key "untagged"."""
    found = json.loads(succeed("list", name, "--json").out)["bundles"]
    return {(item["tags"] or ["untagged"])[0]: item["missing"] for item in found}


def collect(config: Path, *options: str) -> None:
    command = ["docker-registry", "garbage-collect", *options, str(config)]
    subprocess.run(command, check=True, capture_output=True)


def blob(config: Path, path: Path) -> Path:
    """Return the path of the blob with a file's bytes."""
    import hashlib

    name = hashlib.sha256(path.read_bytes()).hexdigest()
    return config.with_name("data") / f"docker/registry/v2/blobs/sha256/{name[:2]}/{name}/data"


def test_what_is_deleted_is_collected(served: tuple[str, Path], files: Files) -> None:
    name, config = served
    assert state(name) == {"v2-v3": None, "v3-v4": None, "untagged": None}
    bundles = json.loads(succeed("list", name, "--json").out)["bundles"]
    succeed("delete", *(item["name"] for item in bundles if item["tags"] != ["v3-v4"]))
    assert state(name) == {"v3-v4": None}
    assert blob(config, files.bundle(2, 3)).exists()
    collect(config)
    assert [blob(config, files.bundle(*pair)).exists() for pair in ((2, 3), (2, 4), (3, 4))] == [False, False, True]
    assert state(name) == {"v3-v4": None}
    have = ("--base", files.archive(3), "--dry-run", "--json")
    assert json.loads(succeed("update", f"{name}:v4", *have).out)["how"] == "bundles"
    succeed("push", files.bundle(2, 3), f"{name}:v2-v3")  # this adds an entry to the emptied list
    assert state(name) == {"v2-v3": None, "v3-v4": None}


def test_bundles_of_an_image_that_was_deleted(served: tuple[str, Path], files: Files) -> None:
    name, config = served
    subprocess.run(["skopeo", "--insecure-policy", "delete", "--tls-verify=false", f"{name}:v4"], check=True)
    assert state(name) == {"v2-v3": None, "v3-v4": "image", "untagged": "image"}
    assert succeed("delete", "--orphans", "--dry-run", name).out.count(b"as its image is gone") == 2
    succeed("delete", "--orphans", name)
    assert state(name) == {"v2-v3": None}
    collect(config)
    assert not blob(config, files.bundle(2, 4)).exists()


def test_garbage_collection_takes_bundles_without_a_tag(served: tuple[str, Path]) -> None:
    """Garbage collection deletes bundles without a tag. docs/how-to/delete-old-deltas.md warns of this effect."""
    name, config = served
    collect(config, "--delete-untagged")
    assert state(name) == {"v2-v3": None, "v3-v4": None, "untagged": "manifest"}
    succeed("delete", "--orphans", name)
    assert state(name) == {"v2-v3": None, "v3-v4": None}


def test_a_registry_that_does_not_delete(files: Files) -> None:
    with engines.registry() as host:
        name = f"docker://{host}/{REPOSITORY}"
        stock(name, files)
        found = json.loads(succeed("list", name, "--json").out)["bundles"]
        ended = dib("delete", found[0]["name"], "--json")
        assert (ended.code, json.loads(ended.out)["code"]) == (9, "registry.delete_disabled")
        assert "REGISTRY_STORAGE_DELETE_ENABLED=true" in ended.err
        assert len(state(name)) == 3
