"""The text of the Dockerfiles that dib writes. tests/compat/test_dockerfile.py builds them."""

from __future__ import annotations

import json
import re

import pytest

from tests.builders import TestImage, build_layer, docker_save, file
from tests.content import noise
from tests.program import dib, succeed

OLD, NEW = "docker://registry.example/app:1", "docker://registry.example/app:2"
FIRST_WORDS = {"FROM", "USER", "WORKDIR", "ENV", "COPY", "RUN", "LABEL", "ENTRYPOINT"}


def lines(*arguments: str) -> list[str]:
    """Return the instructions of a Dockerfile. Assert that the Dockerfile has only known instructions."""
    text = succeed(*arguments).out.decode()
    assert text.startswith("# ")
    found = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line.split()[0] for line in found} <= FIRST_WORDS
    assert len([line for line in found if line.startswith("RUN")]) == 1
    return found


def run(found: list[str]) -> list[str]:
    """Return the words of the only RUN instruction."""
    (line,) = (line for line in found if line.startswith("RUN"))
    words: list[str] = json.loads(line[line.index("[") :])
    return words


def test_wrap_from_a_registry():
    assert lines("dockerfile", "create", "--linked", OLD, NEW) == [
        "FROM dib",
        "USER 0:0",
        "WORKDIR /tmp/dib",
        f'RUN ["dib", "create", "--", "{OLD}", "{NEW}", "/tmp/bundle.dib"]',
        "FROM registry.example/app:1",
        "COPY --from=0 /tmp/bundle.dib /bundle.dib",
        'LABEL dibundle.bundle="built" dibundle.needs="registry.example/app:1" dibundle.makes="registry.example/app:2"',
    ]


def test_wrap_from_archives():
    found = lines("dockerfile", "create", "--linked", "--base", "app:1", "old image.tar", "x/new.tar")
    assert 'COPY ["old image.tar", "old image.tar"]' in found
    assert 'COPY ["x/new.tar", "x/new.tar"]' in found
    assert "FROM app:1" in found
    assert 'LABEL dibundle.bundle="built"' in found
    assert "FROM scratch" in lines("dockerfile", "create", "--unlinked", "old.tar", "new.tar")


@pytest.mark.parametrize("part", ["x/update.dib.001", "x/update.dib.002"])
def test_all_parts_of_a_bundle_are_copied(part: str):
    """Before the fix, only the named part was copied, so that the build failed."""
    found = lines("dockerfile", "apply", "old.tar", part)
    assert 'COPY ["x/update.dib.[0-9][0-9][0-9]", "x/"]' in found
    assert run(found)[-2:] == ["old.tar", part]
    assert 'COPY ["update.dib.[0-9][0-9][0-9]", "./"]' in lines(
        "dockerfile", "apply", "old.tar", "update.dib.001", "update.dib.002"
    )


def test_apply():
    assert lines("dockerfile", "apply", "old.tar", "update.dib", "--image", "registry.example/dib:1") == [
        "FROM registry.example/dib:1 AS run",
        "USER 0:0",
        "WORKDIR /tmp/dib",
        'COPY ["old.tar", "old.tar"]',
        'COPY ["update.dib", "update.dib"]',
        'RUN ["dib", "apply", "-o", "/tmp/image.tar", "--", "old.tar", "update.dib"]',
        'ENTRYPOINT ["cat", "/tmp/image.tar"]',
        "FROM scratch",
        "COPY --from=0 /tmp/image.tar /image.tar",
    ]


def test_options_for_the_dib_in_the_build():
    expect = "sha256:" + 64 * "0"
    given = ("--insecure", "a:1", "--insecure", "b:2", "--thin", "--expect", expect)
    assert run(lines("dockerfile", "apply", OLD, *given))[4:-2] == ["--thin", "--expect", expect, *given[:4]]
    found = lines("dockerfile", "create", "--linked", "--platform", "linux/arm64", OLD, NEW)
    assert run(found)[2:4] == ["--platform", "linux/arm64"]
    assert "FROM --platform=linux/arm64 registry.example/app:1" in found


def test_a_secret_has_the_logins():
    found = lines("dockerfile", "create", "--unlinked", "--secret", "logins", OLD, NEW)
    assert "ENV REGISTRY_AUTH_FILE=/run/secrets/dib" in found
    assert any(line.startswith("RUN --mount=type=secret,id=logins,target=/run/secrets/dib [") for line in found)


@pytest.mark.parametrize("sources", [(OLD, NEW), ("a.tar", "b.tar")])
def test_the_first_lines_say_how_to_build_it(sources: tuple[str, str]):
    text = succeed("dockerfile", "create", "--unlinked", *sources).out.decode()
    command = text.splitlines()[1]
    assert re.fullmatch(r"#   docker build .*(- < Dockerfile|-f Dockerfile \.)", command)
    assert ("--no-cache" in command) == ("- <" in command) == (sources == (OLD, NEW))


def test_what_dib_is_told_stays_one_word():
    odd = '<<EOF\nRUN x "$y" \\'
    found = lines("dockerfile", "apply", OLD, "--target", odd)
    assert run(found)[4:6] == ["--target", odd]
    assert "<<" not in "".join(found)


@pytest.mark.parametrize(
    "name",
    [
        "a\nRUN x",
        "a\rb",
        'a"b',
        "a'b",
        "a\\",
        "$HOME/a",
        "*.tar",
        "a?",
        "a[1]",
        "/a.tar",
        "../a.tar",
        "x/../../a",
        "-",
        "",
        "docker-daemon:app:1",
        "oci:folder",
        "http://x/a.tar",
        "docker://registry.example/app:1\nRUN x",
        "docker://registry.example/$X",
        "docker://app:1",
    ],
)
def test_names_that_no_dockerfile_holds(name: str):
    for arguments in (
        ("dockerfile", "apply", "--", name),
        ("dockerfile", "create", "--unlinked", "--", name, "b.tar"),
    ):
        ended = dib(*arguments)
        assert (ended.code, ended.out) == (2, b""), ended.err
        assert ended.err.count("\n") == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("dockerfile", "create", OLD, NEW), "--linked or --unlinked"),
        (("dockerfile", "create", "--linked", OLD), "wanted two: OLD NEW"),
        (("dockerfile", "create", "--linked", "a.tar", NEW), "needs the name of the image in a.tar"),
        (("dockerfile", "create", "--linked", "--base", "a\nRUN x", "a.tar", NEW), "is not a valid image name"),
        (("dockerfile", "create", "--linked", "--base", "--x", "a.tar", NEW), "is not a valid image name"),
        (("dockerfile", "create", "--unlinked", "--base", "app:1", OLD, NEW), "--base"),
        (("dockerfile", "create", "--unlinked", "--tag", "x", OLD, NEW), "no such option '--tag'"),
        (("dockerfile", "create", "--linked", "--platform", "a b", OLD, NEW), "is not a platform"),
        (("dockerfile", "create", "--unlinked", "--secret", "a,b", OLD, NEW), "is not a valid secret ID"),
        (("dockerfile", "apply", "--image", "a b", OLD), "is not a valid image name"),
        (("dockerfile", "apply", "--check", OLD), "no such option '--check'"),
        (("dockerfile", "apply", "--expect", "x", OLD), "is not an image ID"),
        (("wrap", "--unlinked", "a.dib", "b.dib"), "wanted BUNDLE"),
    ],
)
def test_wrong_command_lines(arguments: tuple[str, ...], text: str):
    ended = dib(*arguments)
    assert (ended.code, ended.out, text in ended.err) == (2, b"", True), ended.err


def test_a_build_that_checks_no_signature_is_not_written_where_they_are_demanded():
    ended = dib("dockerfile", "apply", OLD, NEW, env={"DIB_ALLOWED_SIGNERS": "/etc/dib/signers"})
    assert (ended.code, ended.out) == (2, b"")
    assert "DIB_ALLOWED_SIGNERS is set, but a build does not check signatures" in ended.err
    assert "hint: to build without signature checks: DIB_ALLOWED_SIGNERS= dib dockerfile apply ...\n" in ended.err
    ended = dib("dockerfile", "apply", OLD, NEW, env={"DIB_REQUIRE_SIGNATURE": "1"})
    assert "hint: to build without signature checks: DIB_REQUIRE_SIGNATURE= dib dockerfile apply ...\n" in ended.err
    both = {"DIB_ALLOWED_SIGNERS": "/etc/dib/signers", "DIB_REQUIRE_SIGNATURE": "1"}
    ended = dib("dockerfile", "apply", OLD, NEW, env=both)
    assert (
        "without signature checks: DIB_ALLOWED_SIGNERS= DIB_REQUIRE_SIGNATURE= dib dockerfile apply ...\n" in ended.err
    )
    assert dib("dockerfile", "apply", OLD, NEW, env=dict.fromkeys(both, "")).code == 0
    assert dib("dockerfile", "apply", OLD, NEW, env={"DIB_ALLOWED_SIGNERS": ""}).code == 0


def test_an_image_that_a_build_made_is_found(tmp_path):
    """A bundle is found in an image from a build. There, the label has no digest and no size, and the layer is
    compressed.
    """
    old = TestImage([build_layer([file("a", noise(1, 3_000_000))])], ["app:1"])
    new = TestImage([build_layer([file("a", noise(1, 3_000_000)), file("b", noise(2, 3_000_000))])], ["app:2"])
    (tmp_path / "a.tar").write_bytes(docker_save([old]))
    (tmp_path / "b.tar").write_bytes(docker_save([new]))
    bundle = succeed("create", tmp_path / "a.tar", tmp_path / "b.tar", "-").out
    layer = build_layer([file("bundle.dib", bundle, mtime=1_700_000_000)])
    built = TestImage([*old.layers, layer], ["app:1-2"], {"config": {"Labels": {"dibundle.bundle": "built"}}})
    for stored in (None, "gzip"):
        (tmp_path / "linked.tar").write_bytes(docker_save([built], "v25", stored))
        assert succeed("unwrap", tmp_path / "linked.tar").out == bundle
        assert succeed("apply", tmp_path / "linked.tar").out == (tmp_path / "b.tar").read_bytes()
