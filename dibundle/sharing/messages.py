"""What goes wrong with sharing: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

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
PLATFORM_UNKNOWN: Final = Message("platform.unknown", "{found} is no platform", hint="for example linux/amd64")
PLATFORM_UNKNOWN_2: Final = Message("platform.unknown", "{found} is no platform", hint="for example {platform}")
SIGNATURE_NO_SIGNED_WAY: Final = Message(
    "signature.no_signed_way",
    "no {value}bundle leads from here to {reference}, and the image itself has no signature",
    hint="give --have all that is here; else a bundle from it has to be signed, and pushed",
)
UPDATE_NOT_MADE: Final = Message("update.not_made", "the bundle does not make {id}")
WRAP_SEVERAL_IMAGES: Final = Message(
    "wrap.several_images",
    "the base has what the bundle needs in several images, a linked image is made of one",
    hint="wrap it with --unlinked",
)
WRAPPED_BUNDLE_NOT_FIRST: Final = Message(
    "wrapped.bundle_not_first", "{name} is labelled as a wrapped bundle, but its last layer does not begin with {file}"
)
WRAPPED_LAYER_MALFORMED: Final = Message(
    "wrapped.layer_malformed", "{name} is labelled as a wrapped bundle, but its last layer is none: {reason}"
)
WRAPPED_NO_BUNDLE: Final = Message(
    "wrapped.no_bundle", "{name} is labelled as a wrapped bundle, but its last layer has no {file}"
)
WRAPPED_NO_LAYER: Final = Message(
    "wrapped.no_layer", "{name} is a wrapped bundle without the layer that has it", hint="save the image again"
)
