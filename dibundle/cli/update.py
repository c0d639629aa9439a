"""``dib update``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING

import click

from dibundle.applying.chain import follow
from dibundle.applying.expected import UnexpectedError
from dibundle.applying.loading import hand_over
from dibundle.applying.pipeline import ApplyOptions
from dibundle.applying.rewrite import rebuild_images, stored_images
from dibundle.cli import documents, limits, messages, registries, terminal
from dibundle.cli.console import Console, Document
from dibundle.cli.console import options as console_options
from dibundle.cli.sources import Sources, open_present
from dibundle.cli.trust import Trust
from dibundle.cli.trust import options as trust_options
from dibundle.errors import ArchiveError, BundleError, DigestError, RegistryError, SignatureError, UsageError
from dibundle.files import digest
from dibundle.files.destination import Destination
from dibundle.files.progress import Progress
from dibundle.files.readat import Spool, Stream
from dibundle.format.manifest import AboutImage
from dibundle.format.reader import BundleReader
from dibundle.images import pinned, writers
from dibundle.images.archive import from_fd
from dibundle.images.pinned import PinnedImage
from dibundle.images.reader import read_images
from dibundle.sources.engines import ENGINES, TRANSPORTS, default_engine, image_id
from dibundle.sources.registry.reference import Reference

if TYPE_CHECKING:
    from dibundle.images.archive import Archive
    from dibundle.sharing.update import Plan
    from dibundle.sources.registry.artifacts import Delta
    from dibundle.sources.registry.client import Repository
    from dibundle.sources.registry.images import RemoteImage


@click.command("update", short_help="Get an image from a registry by the deltas to it that are there.")
@click.argument("name", metavar="docker://HOST/NAME:TAG")
@click.option("--have", "haves", multiple=True, metavar="IMAGE", help="What is here; what is absent is passed over.")
@click.option(
    "--engine", type=click.Choice(sorted(ENGINES)), help="Default: that of an IMAGE, else docker, podman, ctr."
)
@click.option("-o", "--output", metavar="FILE", help="Write the image archive there instead of loading it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@limits.max_size
@trust_options
@click.option("--platform", metavar="OS/ARCH", help="Which image to get where a name stands for several.")
@registries.insecure
@click.option("--tmp", metavar="DIR", help="Where temporary files go.")
@console_options()
def command(
    name: str,
    haves: tuple[str, ...],
    engine: str | None,
    output: str | None,
    dry_run: bool,
    max_size: int,
    platform: str | None,
    tmp: str | None,
    trust: Trust,
    console: Console,
) -> None:
    """Get an image from a registry, by the bundles there that lead to it from what is here ("dib push").

    \b
        dib update docker://registry.example/app:2 --have docker-daemon:app:1
        dib update docker://registry.example/app:2 --have old.tar -o new.tar

    Of all chains of bundles that of the fewest bytes is taken, or the image itself where that is less. What comes out
    must be the very image under that name, else nothing is loaded. With --allowed-signers a bundle that none of them
    signed is passed over (--dry-run does not fetch any, and cannot tell), and the image itself is never fetched.
    """
    from dibundle.sharing import update
    from dibundle.sources.registry import images

    if not registries.is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_NAME_2, name=name)
    reference = Reference.parse(name)
    options = ApplyOptions(tmp=tmp, max_size=max_size)
    progress = console.progress
    with ExitStack() as stack:
        receiver = _Receiver(output, engine, haves, dry_run=dry_run)
        receiver.keep_stdout(console)
        repository = registries.repository(reference, stack)
        found = repository.manifest(reference.wanted)
        image = images.resolve(repository, found, platform or registries.platform_here())
        if trust.expect and not trust.expect & {image.id, image.manifest.digest}:
            raise UnexpectedError(messages.EXPECT_REGISTRY_IMAGE, name=name, id=digest.text(image.id))
        opened = open_present(haves, stack, progress, tmp=tmp, platform=platform)
        receiver.refuse_overwriting(opened)
        made = AboutImage(names=(reference.name,) if reference.name else (), id=image.id, diff_ids=image.diff_ids)
        is_thin = receiver.has_them()
        is_here = is_thin and not dry_run and update.holds(opened.archives, image.id)
        if is_here and receiver.has_under(made.names, {image.id, image.manifest.digest}):
            _tell_here(name, made, console)
            return
        refused: dict[bytes, int] = {}
        lists: dict[bytes, list[Delta]] = {}
        fetched: dict[bytes, BundleReader] = {}
        bundles: list[BundleReader] | None = None
        while bundles is None:
            plan = update.plan(
                *(repository, image, opened.archives),
                thin=is_thin,
                only_bundles=trust.check is not None,
                refused=refused,
                lists=lists,
            )
            if dry_run:
                _tell(name, plan, console)
                return
            if plan.size > max_size:
                raise RegistryError(messages.REGISTRY_TOO_LARGE, name=name, size=plan.size, max_size=max_size)
            progress.phase("fetching", plan.size)
            bundles = _fetch(repository, plan, trust, refused, fetched, console, stack, tmp)
        made_of = _Made(repository, image, opened.archives, bundles, trust, options)
        pinned_image = made_of.pin(name, plan, made.names, stack, progress)
        receiver.take(pinned_image, made, progress)
    vain = sum(refused.values()) + sum(reader.size for reader in fetched.values() if reader not in bundles)
    _tell_done(name, plan, vain, len(refused), made, receiver, trust.signed_by(bundles), console)


@dataclass(frozen=True, slots=True)
class _Made:
    """What an image is made of: the registry's own parts, or the bundles of a chain and what is here."""

    repository: Repository
    image: RemoteImage
    archives: Sequence[Archive]
    bundles: Sequence[BundleReader]
    trust: Trust
    options: ApplyOptions

    def pin(self, name: str, plan: Plan, names: Sequence[str], stack: ExitStack, progress: Progress) -> PinnedImage:
        """Fetch or make the image; :class:`RegistryError` where another one comes out."""
        from dibundle.sharing import update
        from dibundle.sources.registry import images

        tmp = self.options.tmp
        try:
            if plan.chain is None:
                spool = stack.enter_context(closing(Spool(tmp)))
                images.fetch(self.repository, self.image, names, spool, without=plan.without, tmp=tmp)
                archive = read_images(stack.enter_context(from_fd(spool.start(), name, spool_dir=tmp)))
                return update.pin_fetched(self.image, archive, stored_images(self.archives), plan.without)
            archives, last = follow(self.archives, self.bundles, self.options, stack, progress)
            options = replace(self.options, target=_target(last, self.image.id))
            archive, _ = rebuild_images(archives, last, options, stack, progress)
            return update.pin_made(self.image, archive, is_signed=self.trust.check is not None)
        except ArchiveError as error:
            raise RegistryError(messages.REGISTRY_OTHER_IMAGE, name=name, reason=error.message) from error


def _fetch(
    repository: Repository,
    plan: Plan,
    trust: Trust,
    refused: dict[bytes, int],
    fetched: dict[bytes, BundleReader],
    console: Console,
    stack: ExitStack,
    tmp: str | None,
) -> list[BundleReader] | None:
    """Fetch the bundles of a plan; None, and one more with its size refused, where nobody signed it who counts.

    Whoever may push could else keep everybody from the bundles of others, with what is no bundle too. What is
    ``fetched`` stays for the next plan.
    """
    from dibundle.sharing import update

    chain = plan.chain or ()
    for step in chain:
        name = step.delta.manifest
        if name in fetched:
            continue
        try:
            with ExitStack() as own:  # nothing is kept of a bundle that is refused
                spool = update.fetch(repository, step, own, tmp, trust.check)
                fetched[name] = BundleReader(Stream(spool), None, trust.check, digest.text(name))
                stack.push(own.pop_all())
        except (SignatureError, BundleError, DigestError, RegistryError) as error:
            if not trust.check:
                raise
            refused[name] = step.delta.told.size
            console.progress.note(f"bundle {digest.text(name)} is passed over: {error.message}")
            return None
    return [fetched[step.delta.manifest] for step in chain]


def _tell_here(name: str, made: AboutImage, console: Console) -> None:
    """Say that there is nothing to do."""
    document = {"name": name, "how": "here", "size": 0, "image_size": 0, "bundles": []}
    console.result("dib.update/1", {**document, "image": documents.image(made), "written": False, "signed_by": []})
    console.say(f"{name}: {digest.text(made.id)} is here already")


def _tell_done(
    name: str,
    plan: Plan,
    vain: int,
    refused: int,
    made: AboutImage,
    receiver: _Receiver,
    signed_by: Sequence[str],
    console: Console,
) -> None:
    """Say what was fetched, ``vain`` bytes of it for nothing, and where the image is now."""
    size = plan.size + vain
    document = {**_document(name, plan), "size": size, "image": documents.image(made), "written": receiver.writes}
    console.result("dib.update/1", {**document, "signed_by": signed_by})
    console.say_signed(signed_by)
    how = terminal.count(len(plan.chain), "bundle") if plan.chain else "the image itself"
    if refused:
        how += f" and {refused} passed over"
    console.say(
        f"{name}: {terminal.human(size)} fetched, {how}; {receiver.done}, {digest.text(made.id)},"
        f" in {console.seconds:.1f} s"
    )


def _document(name: str, plan: Plan) -> Document:
    """Return what is fetched."""
    bundles = [{"digest": digest.text(step.delta.manifest), "size": step.delta.told.size} for step in plan.chain or ()]
    return {
        "name": name,
        "how": "image" if plan.chain is None else "bundles",
        "size": plan.size,
        "image_size": plan.pull_size,
        "bundles": bundles,
    }


class _Receiver:
    """Where the image goes: a file, or an engine that is asked afterwards."""

    def __init__(self, output: str | None, engine: str | None, haves: Sequence[str], *, dry_run: bool) -> None:
        self._destination = Destination(output) if output is not None else None
        self._haves = haves
        self._engine = engine or default_engine(haves, needed=output is None and not dry_run)
        self.writes = output is not None
        self.done = "written" if output is not None else f"loaded into {self._engine} and checked"

    def keep_stdout(self, console: Console) -> None:
        """Refuse to write the image where the JSON document goes."""
        if self._destination:
            console.keep_stdout(self._destination)

    def refuse_overwriting(self, opened: Sources) -> None:
        """Refuse an output that is an input."""
        if self._destination:
            opened.refuse_overwriting(self._destination)

    def has_them(self) -> bool:
        """Whether the layers of all that is here are in the engine already."""
        transport = TRANSPORTS.get(self._engine)
        return (
            not self._destination and transport is not None and all(map(str.startswith, self._haves, repeat(transport)))
        )

    def has_under(self, names: Sequence[str], ids: Collection[bytes]) -> bool:
        """Whether the engine has an image of one of these digests under each of the names."""
        return all(image_id(self._engine, name) in {digest.text(item) for item in ids} for name in names)

    def take(self, image: PinnedImage, made: AboutImage, progress: Progress) -> None:
        """Write the image in an archive that is made here, then make sure that an engine has it."""
        if not self._destination:
            hand_over([(image, made.names)], self._engine, progress)
            return
        with self._destination:
            writers.write(pinned.layout([(image, made.names)]), "docker-archive", self._destination.write)


def _target(bundle: BundleReader, image: bytes) -> str | None:
    """Return what names the target of a bundle that makes several archives."""
    return digest.text(image) if len(bundle.manifest.targets) > 1 else None


def _tell(name: str, plan: Plan, console: Console) -> None:
    """Say what would be fetched, one line for each step and one for the other way."""
    lines = [
        f"{number}. bundle {digest.text(step.delta.manifest)}: {terminal.human(step.delta.told.size)}"
        for number, step in enumerate(plan.chain or (), 1)
    ]
    image = "the image itself: " + terminal.human(plan.pull_size)
    if plan.chain:
        count = terminal.count(len(plan.chain), "bundle")
        lines.append(f"{terminal.escape(name)}: {count}, {terminal.human(plan.size)}, instead of {image}")
    elif plan.chain_size is not None:
        lines.append(f"{terminal.escape(name)}: {image}, as bundles are {terminal.human(plan.chain_size)}")
    else:
        lines.append(f"{terminal.escape(name)}: {image}, as no bundle leads there from here")
    console.answer("dib.update-plan/1", _document(name, plan), *lines)
