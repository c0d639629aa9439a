"""Open names in a registry. A name stands for a bundle, or for an image, which may contain a bundle."""

from __future__ import annotations

import platform as system
from dataclasses import replace
from typing import Final

from dibundle.errors import UsageError
from dibundle.files.context import Context
from dibundle.files.readat import Spool
from dibundle.format import labels
from dibundle.sources import messages, policy
from dibundle.sources.access import Access
from dibundle.sources.bundles import CheckSignature, check_signature, fetch_bundle
from dibundle.sources.names import is_reference
from dibundle.sources.registry import artifacts, images
from dibundle.sources.registry.client import Repository
from dibundle.sources.registry.reference import Reference, is_loopback
from dibundle.sources.registry.settings import RegistrySettings
from dibundle.sources.wrapped import find_in_layer

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}


def platform_here() -> str:
    """Return the platform of images that run on this machine."""
    machine = system.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def open_repository(reference: Reference, access: Access, context: Context, *, write: bool = False) -> Repository:
    """Return a repository that stays open until ``context`` ends.

    Raises the errors of :func:`allowed_settings`.
    """
    return context.enter(Repository(reference, allowed_settings(access), write=write))


def allowed_settings(access: Access) -> RegistrySettings:
    """Return the registry settings, in accordance with the policy of this machine.

    Raises :class:`UsageError` if the settings use a registry without TLS although the policy requires TLS.
    """
    settings, allowed = access.registries, policy.read_policy().insecure
    if allowed is not None:
        others = sorted(host for host in settings.insecure - allowed if not is_loopback(host))
        if others:
            raise UsageError(messages.POLICY_INSECURE, host=others[0], path=policy.PATH)
        settings = replace(settings, insecure=allowed)
    return settings


def open_reference(
    name: str, access: Access, context: Context, *, only_bundle: bool, check: CheckSignature | None
) -> tuple[Spool, bool]:
    """Fetch the bundle or image of a name into a temporary file. Return the file, and whether its content is a bundle.

    With ``only_bundle``, only the last layer of a wrapped image is fetched, because the base is local. ``check`` gets a
    bundle's header and signature before the rest of the bundle is fetched.
    """
    reference = Reference.parse(name)
    repository = open_repository(reference, access, context)
    manifest = repository.manifest(reference.wanted)
    spool = context.spool()
    bundle = artifacts.bundle_of(repository, manifest)
    if bundle:
        fetch_bundle(repository.blob(bundle.digest, bundle.size), bundle.size, name, spool, check)
        return spool, True
    image = images.resolve(repository, manifest, access.platform or platform_here())
    wrapped = only_bundle and labels.BUNDLE in image.labels
    without = frozenset(blob.digest for blob in image.layers[:-1]) if wrapped else frozenset()
    if check and labels.BUNDLE in image.labels and image.layers:
        last = image.layers[-1]
        check_signature(find_in_layer(repository.blob(last.digest, last.size), name), name, check)
    names = [reference.name] if reference.name else []
    images.fetch(repository, image, names, spool, without=without)
    return spool, False


def parse_target(name: str) -> Reference:
    """Return the parsed name of a target to push to."""
    if not is_reference(name):
        raise UsageError(messages.REGISTRY_NOT_A_NAME, name=name)
    reference = Reference.parse(name)
    if reference.digest:
        raise UsageError(messages.PUSH_NAMES_DIGEST, name=name)
    return reference
