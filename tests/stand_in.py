"""Programs that stand in for engines. They support the commands in docs/, and are called like ``python stand_in.py
docker load``.

The images of a machine are the archives in MACHINE/engine. Each file has the name of one of its images.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from urllib.parse import quote, unquote

STORE = Path(os.environ["MACHINE"], "engine")


def parts(data: bytes) -> tuple[dict, dict, set[str]]:
    """Return manifest.json's entry, the config and the digests of the present layers."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}
    (entry,) = json.loads(found["manifest.json"])
    layers = [found[name] for name in entry["Layers"] if name in found]
    plain = [gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers]
    return entry, json.loads(found[entry["Config"]]), {"sha256:" + hashlib.sha256(layer).hexdigest() for layer in plain}


def load(data: bytes) -> None:
    """Load an archive. The archive may lack layers that an already loaded image has."""
    entry, config, layers = parts(data)
    STORE.mkdir(exist_ok=True)
    for path in STORE.iterdir():
        layers |= parts(path.read_bytes())[2]
    if absent := set(config["rootfs"]["diff_ids"]) - layers:
        sys.exit(f"no such layer: {absent}")
    for name in entry["RepoTags"]:
        Path(STORE, quote(name, safe="")).write_bytes(data)


def image(name: str) -> bytes:
    """Return the archive of an image."""
    path = Path(STORE, quote(name, safe=""))
    return path.read_bytes() if path.exists() else sys.exit(f"No such image: {name}")


def inspect(name: str, form: str) -> str:
    """Return an engine's description of an image."""
    entry, config, _ = parts(image(name))
    if form == "{{.Size}}":
        return "1000000"
    layers = json.dumps(config["rootfs"]["diff_ids"], separators=(",", ":"))
    return f"{Path(entry['Config']).name.removesuffix('.json')} {layers} null"


def manifest_digest(data: bytes) -> str:
    """Return the digest of an archive's first manifest."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        index = tar.extractfile("index.json")
        assert index
        return str(json.load(index)["manifests"][0]["digest"])


def option(arguments: list[str], *names: str) -> str:
    """Remove an option and its value from the arguments. Return the value; without the option, return ""."""
    for name in names:
        if name in arguments:
            at = arguments.index(name)
            value = arguments[at + 1]
            del arguments[at : at + 2]
            return value
    return ""


def rename(command: str, names: list[str]) -> None:
    """Give an image a second name, or remove names."""
    if command == "tag":
        Path(STORE, quote(names[1], safe="")).write_bytes(image(names[0]))
        return
    for name in names:
        Path(STORE, quote(name, safe="")).unlink(missing_ok=True)


def write(data: bytes, output: str) -> None:
    """Write to a file or to stdout."""
    if output not in ("", "-"):
        Path(output).write_bytes(data)
    else:
        sys.stdout.buffer.write(data)


def engine(command: str, rest: list[str]) -> None:
    """Run a command of docker or podman."""
    if "--" in rest:  # the arguments after "--" are names
        rest.remove("--")
    if command == "load":
        source = option(rest, "-i")
        load(Path(source).read_bytes() if source else sys.stdin.buffer.read())
    elif command == "save":
        output = option(rest, "-o")
        (name,) = (item for item in rest if item != "--multi-image-archive")
        write(image(name), output)
    elif command == "image" and rest[0] == "ls":
        path = Path(STORE, quote(rest[-1], safe=""))
        print("\n".join([parts(path.read_bytes())[0]["Config"]] if path.exists() else []))
    elif command in ("tag", "rmi"):
        rename(command, rest)
    elif command == "image" and rest[0] == "inspect":
        form = option(rest, "--format")
        print(inspect(rest[-1], form))
    elif command in ("pull", "push"):
        image(rest[-1])
    elif command == "run":
        for name in ("-v", "-u"):
            option(rest, name)
        while rest[0] in ("-i", "--rm"):
            del rest[0]
        assert rest[0] == "dib", rest
        sys.exit(subprocess.run([sys.executable, "-m", "dibundle", *rest[1:]], check=False).returncode)
    else:
        sys.exit(f"not known here: {command} {rest}")


def containerd(rest: list[str]) -> None:
    """Run a command of ctr."""
    space = option(rest, "-n") or os.environ.get("CONTAINERD_NAMESPACE")
    assert space == "k8s.io", "that is not where the kubelet's images are"
    option(rest, "--platform")
    del rest[0]
    if rest[0] == "export":
        write(image(rest[2]), rest[1])
    elif rest == ["import", "-"]:
        load(sys.stdin.buffer.read())
    elif rest == ["ls", "-q"]:
        print("\n".join(unquote(path.name) for path in STORE.iterdir()))
    elif rest[0] in ("tag", "rm"):
        rename("tag" if rest[0] == "tag" else "rmi", [item for item in rest[1:] if not item.startswith("--")])
    elif rest[0] == "ls":
        wanted = {item.removeprefix("name==") for item in rest[1:]}
        print("REF TYPE DIGEST")
        for path in STORE.iterdir():
            if wanted and unquote(path.name) not in wanted:
                continue
            print(unquote(path.name), "manifest", manifest_digest(path.read_bytes()))
    else:
        sys.exit(f"not known here: {rest}")


if __name__ == "__main__":
    if sys.argv[1] == "ctr":
        containerd(sys.argv[2:])
    else:
        engine(sys.argv[2], sys.argv[3:])
