"""``dib push``."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from dibundle.cli import documents, messages, registries, terminal
from dibundle.cli.console import Console
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import one_stream, open_sources
from dibundle.cli.trust import Trust, signature_options
from dibundle.errors import UsageError
from dibundle.files import digest
from dibundle.sharing.wrap import keep
from dibundle.sources.registry.reference import SCHEME, Reference

if TYPE_CHECKING:
    from dibundle.sources.registry.client import Repository


@click.command("push", short_help="Put a bundle into a registry, where the image that it makes leads to it.")
@click.argument("bundle", metavar="BUNDLE")
@click.argument("name", metavar="docker://HOST/NAME[:TAG]")
@click.option("--subject", metavar="TAG|DIGEST", help="The image in that repository that the bundle makes.")
@signature_options
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(bundle: str, name: str, subject: str | None, tmp: str | None, trust: Trust, console: Console) -> None:
    """Put BUNDLE into a registry as an OCI artifact; without TAG it is found by what it refers to alone.

    \b
        dib push update.dib docker://registry.example/app:1-2

    It refers to the image that it makes, if that is in the same repository: under --subject, else under the tag that
    the image had when the bundle was made. Whoever has the image's name then finds the bundle ("dib update"). The TAG
    of an image is refused: engines could no longer pull that image.
    """
    from dibundle.sources.registry import artifacts

    reference = registries.parse_target(name)
    progress = console.progress
    with ExitStack() as stack:
        hint = f"an image is pushed by its engine: docker push {shlex.quote(name.removeprefix(SCHEME))}"
        kept = keep(
            one_stream(open_sources([bundle], stack, trust=trust.check, tmp=tmp, bundle_first=True), hint=hint),
            stack,
            tmp,
        )
        repository = registries.repository(reference, stack, write=True)
        before = _under(bundle, reference, repository)
        about = kept.manifest.about
        targets = [image for images in about.targets for image in images] if about else []
        bases = about.bases if about else ()
        if subject is not None:
            wanted = Reference.parse(subject).wanted if registries.is_reference(subject) else subject
            found = artifacts.find_image(repository, wanted, targets)
            if found is None:
                raise UsageError(messages.PUSH_SUBJECT, wanted=wanted, bundle=bundle)
            makes = [found]
        else:
            makes = artifacts.find_by_names(repository, targets)
            if not makes:
                progress.note(
                    f"no image that the bundle makes is in {reference.host}/{reference.repository} under a tag that it"
                    " tells: nothing leads to the bundle but its own name; push the image, then the bundle again"
                )
                if reference.tag is None:
                    raise UsageError(messages.PUSH_NO_NAME, bundle=shlex.quote(bundle), name=shlex.quote(name + ":TAG"))
        needs = artifacts.find_by_names(repository, bases)
        annotations = kept.labels
        if needs:
            annotations[artifacts.NEEDS_MANIFESTS] = artifacts.texts(needs)
        manifest, sent = artifacts.push(
            repository,
            reference.tag,
            kept.content,
            kept.digest,
            annotations,
            makes[0].manifest if makes else None,
        )
    pushed = str(manifest.descriptor["digest"])
    where = str(reference) if reference.tag else str(reference.with_digest(pushed))
    refers = str(makes[0].manifest.descriptor["digest"]) if makes else None
    console.result(
        "dib.push/1",
        {
            **documents.name("bundle", bundle),
            "name": where,
            "digest": pushed,
            "size": kept.content.size,
            "sent": bool(sent),
            "refers_to": refers,
        },
    )
    what = f"{terminal.human(kept.content.size)} sent" if sent else "was there already"
    if reference.tag and before != manifest.digest:
        what = what if sent else "nothing sent, now under this name"
        what += f", in place of {digest.text(before)}" if before else ""
    console.say(f"{where}: {what}" + (f", refers to {refers}" if refers else ""))


def _under(bundle: str, reference: Reference, repository: Repository) -> bytes | None:
    """Return the digest of the bundle that has the tag, if any.

    The tag of what is no bundle is not taken: an image under it would be lost to those who pull it.
    """
    from dibundle.sources.registry import artifacts

    found = repository.find(reference.tag) if reference.tag else None
    if found and not artifacts.bundle_of(repository, found):
        free = reference.with_tag(f"delta-{reference.tag}"[:128])
        raise UsageError(messages.PUSH_TAG_IS_IMAGE, reference=reference, bundle=shlex.quote(bundle), free=free)
    return found.digest if found else None
