"""What goes wrong with sharing: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

DELETE_NO_BUNDLE: Final = Message(
    "delete.no_bundle",
    "{reference} is no bundle: nothing else is deleted",
    hint="see which bundles are there: {dib} list {place}",
)
DELETE_NO_DIGEST: Final = Message(
    "delete.no_digest",
    "{name} is a whole repository: a bundle is deleted by its tag or digest",
    hint="see which bundles are there: {dib} list {place}",
)
DOCKERFILE_BASE_NAME: Final = Message(
    "dockerfile.base_name", "a linked image needs the name of the image in {old}", hint="--base app:1"
)
DOCKERFILE_IMAGE_NAME: Final = Message(
    "dockerfile.image_name", "{image} is no name of an image", hint="for example registry.example/app:1"
)
DOCKERFILE_SECRET: Final = Message("dockerfile.secret", "{found} is no ID of a secret", hint="--secret logins")
DOCKERFILE_SOURCE: Final = Message(
    "dockerfile.source",
    "{source} cannot be named in a Dockerfile",
    hint=("name a file by its path in the build context, or an image in a registry: docker://registry.example/app:1"),
)
EXPECT_REGISTRY_IMAGE: Final = Message("expect.registry_image", "{name} is {id}, which is not what is expected")
PLATFORM_UNKNOWN: Final = Message("platform.unknown", "{found} is no platform", hint="for example linux/amd64")
PLATFORM_UNKNOWN_2: Final = Message("platform.unknown", "{found} is no platform", hint="for example {platform}")
PUSH_NO_NAME: Final = Message(
    "push.no_name", "then the bundle needs a name of its own", hint="{dib} push {bundle} {name}"
)
PUSH_SUBJECT: Final = Message(
    "push.subject", "{wanted} is not the image that {bundle} makes", hint="push the image that it makes first"
)
PUSH_TAG_IS_IMAGE: Final = Message(
    "push.tag_is_image",
    "{reference} is an image: a bundle is not put in its place",
    hint="give the bundle another tag: {dib} push {bundle} {free}",
)
REGISTRY_MORE_THAN_REPOSITORY: Final = Message(
    "registry.more_than_repository",
    "{name} names a tag or a digest, wanted a repository",
    hint="{dib} {command} {place}",
)
REGISTRY_NOT_A_NAME: Final = Message(
    "registry.not_a_name", "{name} is no name in a registry", hint="for example docker://registry.example/app:{tag}"
)
REGISTRY_NOT_A_REPOSITORY: Final = Message(
    "registry.not_a_name", "{name} is no name in a registry", hint="for example docker://registry.example/app"
)
REGISTRY_OTHER_IMAGE: Final = Message("registry.other_image", "{name} leads to another image: {reason}")
UPDATE_SEVERAL_IMAGES: Final = Message(
    "update.several_images",
    "the bundle in {name} makes {count} images, one is wanted here",
    hint="{dib} pull {name} -o update.dib; then {dib} apply takes the one that --target names",
)
REGISTRY_TOO_LARGE: Final = Message(
    "registry.too_large",
    "{name} takes {size:size} to fetch, at most {max_size:size} are allowed",
    hint="allow it with --max-size {size}",
)
SIGN_DETACHED_IN_REGISTRY: Final = Message(
    "sign.detached_in_registry",
    "{bundle} is in a registry, where its signature has no place beside it",
    hint="name a file for it: {dib} {words}",
)
SIGN_IN_REGISTRY: Final = Message(
    "sign.in_registry",
    "{bundle} is in a registry, where a bundle is not signed",
    hint=(
        "pull it, sign it, push it: {dib} pull {quoted} -o update.dib && {dib} sign --key KEY "
        "update.dib && {dib} push update.dib {again}"
    ),
)
SIGN_KEY_OR_SIGNATURE: Final = Message(
    "sign.key_or_signature",
    "one of --key and --signature is wanted",
    hint="{dib} sign --key ~/.ssh/id_ed25519 {bundle}",
)
SIGN_NO_PLACE: Final = Message(
    "sign.no_place", "{name} is no file: its signature has no place beside it", hint="give --detach -o FILE"
)
SIGN_STDIN: Final = Message("sign.stdin", "stdin is read once: only --detach signs it")
SIGN_WRAPPED: Final = Message(
    "sign.wrapped",
    "{bundle} is an image that holds a bundle, which is signed alone",
    hint="take it out first: {dib} unwrap {quoted} -o update.dib",
)
SIGNATURE_NO_SIGNED_WAY: Final = Message(
    "signature.no_signed_way",
    "no {value}bundle leads from here to {reference}, and the image itself has no signature",
    hint="give --base all that is here; else a bundle from it has to be signed, and pushed",
)
UPDATE_NOT_MADE: Final = Message("update.not_made", "the bundle does not make {id}")
WRAP_TOO_MANY_IMAGES: Final = Message(
    "wrap.too_many_images",
    "the base has too many images, of too many layers, to look for the one that has what the bundle needs",
    hint="wrap it with --unlinked, or give a base with that image alone",
)
WRAP_SEVERAL_IMAGES: Final = Message(
    "wrap.several_images",
    "the base has what the bundle needs in several images, a linked image is made of one",
    hint="wrap it with --unlinked",
)
