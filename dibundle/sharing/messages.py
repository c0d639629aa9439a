"""Messages about sharing, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

DELETE_NO_BUNDLE: Final = Message(
    "delete.no_bundle",
    "{reference} is not a bundle, so it is not deleted",
    hint="list the bundles: {dib} list {place}",
)
DELETE_NO_DIGEST: Final = Message(
    "delete.no_digest",
    "{name} is a repository, wanted the tag or digest of a bundle",
    hint="list the bundles: {dib} list {place}",
)
DOCKERFILE_BASE_NAME: Final = Message(
    "dockerfile.base_name", "--linked needs the name of the image in {old}", hint="--base app:1"
)
DOCKERFILE_IMAGE_NAME: Final = Message(
    "dockerfile.image_name", "{image} is not a valid image name", hint="for example registry.example/app:1"
)
DOCKERFILE_SECRET: Final = Message("dockerfile.secret", "{found} is not a valid secret ID", hint="--secret logins")
DOCKERFILE_SOURCE: Final = Message(
    "dockerfile.source",
    "{source} cannot be named in a Dockerfile",
    hint=("give the path of a file in the build context, or an image in a registry: docker://registry.example/app:1"),
)
EXPECT_REGISTRY_IMAGE: Final = Message("expect.registry_image", "{name} is {id}, which is not the expected image")
PLATFORM_UNKNOWN: Final = Message("platform.unknown", "{found} is not a platform", hint="for example linux/amd64")
PLATFORM_UNKNOWN_2: Final = Message("platform.unknown", "{found} is not a platform", hint="for example {platform}")
PUSH_NO_NAME: Final = Message(
    "push.no_name",
    "no target image was found in the repository, so the bundle needs a tag of its own",
    hint="{dib} push {bundle} {name}",
)
PUSH_SUBJECT: Final = Message(
    "push.subject", "{wanted} is not the target image of {bundle}", hint="push the target image first"
)
PUSH_TAG_IS_IMAGE: Final = Message(
    "push.tag_is_image",
    "{reference} is an image, so the bundle is not pushed there",
    hint="choose another tag: {dib} push {bundle} {free}",
)
REGISTRY_MORE_THAN_REPOSITORY: Final = Message(
    "registry.more_than_repository",
    "{name} contains a tag or a digest, wanted a repository only",
    hint="{dib} {command} {place}",
)
REGISTRY_NOT_A_NAME: Final = Message(
    "registry.not_a_name",
    "{name} is not a reference in a registry",
    hint="for example docker://registry.example/app:{tag}",
)
REGISTRY_NOT_A_REPOSITORY: Final = Message(
    "registry.not_a_name", "{name} is not a reference in a registry", hint="for example docker://registry.example/app"
)
REGISTRY_OTHER_IMAGE: Final = Message("registry.other_image", "the result is not the image {name}: {reason}")
UPDATE_SEVERAL_IMAGES: Final = Message(
    "update.several_images",
    "the bundle in {name} rebuilds {count} images, wanted one",
    hint="pull the bundle, then choose one image with {dib} apply --target: {dib} pull {name} -o update.dib",
)
REGISTRY_TOO_LARGE: Final = Message(
    "registry.too_large",
    "{name} needs a download of {size:size}, at most {max_size:size} are allowed",
    hint="to allow it: --max-size {size}",
)
SIGN_DETACHED_IN_REGISTRY: Final = Message(
    "sign.detached_in_registry",
    "{bundle} is in a registry, so its detached signature must be written to a file",
    hint="name the file: {dib} {words}",
)
SIGN_IN_REGISTRY: Final = Message(
    "sign.in_registry",
    "{bundle} is in a registry, and dib cannot sign a bundle there",
    hint=(
        "pull it, sign it, push it: {dib} pull {quoted} -o update.dib && {dib} sign --key KEY "
        "update.dib && {dib} push update.dib {again}"
    ),
)
SIGN_KEY_OR_SIGNATURE: Final = Message(
    "sign.key_or_signature",
    "give --key or --signature",
    hint="{dib} sign --key ~/.ssh/id_ed25519 {bundle}",
)
SIGN_NO_PLACE: Final = Message(
    "sign.no_place",
    "{name} is not a regular file, so dib must know where to write the signature",
    hint="add --detach -o FILE",
)
SIGN_STDIN: Final = Message("sign.stdin", "a bundle from stdin can only be signed with --detach")
SIGN_WRAPPED: Final = Message(
    "sign.wrapped",
    "{bundle} is a wrapped bundle: only the bundle itself can be signed",
    hint="extract it first: {dib} unwrap {quoted} -o update.dib",
)
SIGNATURE_NO_SIGNED_WAY: Final = Message(
    "signature.no_signed_way",
    "no {value}bundle leads from the given bases to {reference}, and the image itself has no signature",
    hint="give all local images with --base, or ask for a signed bundle for one of these images, or one without a base",
)
UPDATE_NOT_MADE: Final = Message("update.not_made", "the bundle does not rebuild {id}")
WRAP_TOO_MANY_IMAGES: Final = Message(
    "wrap.too_many_images",
    "the base has too many images and layers for dib to find the image that the bundle needs",
    hint="wrap the bundle with --unlinked, or give a base with only this image",
)
WRAP_SEVERAL_IMAGES: Final = Message(
    "wrap.several_images",
    "the base layers are in several images, but a linked image builds on only one image",
    hint="wrap the bundle with --unlinked",
)
