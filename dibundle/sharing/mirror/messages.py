"""What goes wrong with a mirror: every text, by its code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

MIRROR_CACHE_IN_USE: Final = Message(
    "mirror.cache_in_use", "another mirror uses the cache {folder}", hint="stop it, or name another --cache"
)
MIRROR_CERTIFICATE: Final = Message(
    "mirror.certificate", "--tls-cert and --tls-key belong together", hint="give both, or neither"
)
MIRROR_INSECURE_LISTEN: Final = Message(
    "mirror.insecure_listen",
    "{address} can be reached by other machines, and what is sent there without TLS can be read and changed",
    hint="--tls-cert FILE --tls-key FILE, or --insecure-listen to accept that",
)
MIRROR_LIBRARIES: Final = Message("mirror.libraries", "a mirror needs {missing}, which is not installed")
MIRROR_LISTEN: Final = Message("mirror.listen", "{found} is no address to listen on", hint="for example 127.0.0.1:5055")
MIRROR_LISTEN_FAILED: Final = Message(
    "mirror.listen_failed", "cannot listen on {address}: {reason}", hint="--listen HOST:PORT names another address"
)
MIRROR_NO_UPSTREAM: Final = Message(
    "mirror.no_upstream", "no registry is named to mirror", hint="--upstream registry.example"
)
MIRROR_OTHER_BLOBS: Final = Message(
    "mirror.other_blobs", "it makes other blobs than the image has in the registry, or other compressed layers"
)
MIRROR_STORE: Final = Message(
    "mirror.store",
    "{store} does not say for images of which upstream it is",
    hint="--store {name}={store}",
)
MIRROR_TLS: Final = Message("mirror.tls", "cannot use {certificate} and {key} for TLS: {reason}")
MIRROR_UPSTREAM: Final = Message(
    "mirror.upstream", "{found} is no registry", hint="--upstream HOST[:PORT] or --upstream NAME=HOST[:PORT]"
)
MIRROR_UPSTREAM_NAME: Final = Message(
    "mirror.upstream_name",
    "{found} cannot stand in the name of an image",
    hint="give the registry a name of its own: --upstream site={host}",
)
MIRROR_UPSTREAM_TWICE: Final = Message("mirror.upstream_twice", "two upstreams are called {name}")
