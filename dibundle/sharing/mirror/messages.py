"""Messages about mirrors, by code."""

from __future__ import annotations

from typing import Final

from dibundle.errors import Message

MIRROR_CACHE_FOREIGN: Final = Message(
    "mirror.cache_foreign",
    "the mirror deletes files in its cache, but {folder} belongs to another user, is a link, or can be changed by"
    " others",
    hint="choose another --cache, or change the owner and the mode of the folder",
)
MIRROR_CACHE_IN_USE: Final = Message(
    "mirror.cache_in_use",
    "another mirror uses the cache {folder}",
    hint="stop the other mirror, or choose another --cache",
)
MIRROR_CERTIFICATE: Final = Message(
    "mirror.certificate", "--tls-cert and --tls-key must be used together", hint="give both, or neither"
)
MIRROR_INSECURE_LISTEN: Final = Message(
    "mirror.insecure_listen",
    "other machines can reach {address}; without TLS, the traffic can be read and changed",
    hint="give --tls-cert FILE --tls-key FILE, or accept this risk: --insecure-listen",
)
MIRROR_LIBRARIES: Final = Message("mirror.libraries", "a mirror needs {missing}, which is not installed")
MIRROR_LISTEN: Final = Message(
    "mirror.listen", "{found} is not an address to listen on", hint="for example 127.0.0.1:5055"
)
MIRROR_LISTEN_FAILED: Final = Message(
    "mirror.listen_failed", "cannot listen on {address}: {reason}", hint="choose another address: --listen HOST:PORT"
)
MIRROR_NO_UPSTREAM: Final = Message(
    "mirror.no_upstream", "no upstream registry given", hint="--upstream registry.example"
)
MIRROR_STORE: Final = Message(
    "mirror.store",
    "{store} does not name its upstream, but there are several upstreams",
    hint="--store {name}={store}",
)
MIRROR_TLS: Final = Message("mirror.tls", "cannot use {certificate} and {key} for TLS: {reason}")
MIRROR_UPSTREAM: Final = Message(
    "mirror.upstream", "{found} is not a registry", hint="--upstream HOST[:PORT] or --upstream NAME=HOST[:PORT]"
)
MIRROR_UPSTREAM_NAME: Final = Message(
    "mirror.upstream_name",
    "{found} cannot be part of an image name",
    hint="give the upstream a name: --upstream site={host}",
)
MIRROR_UPSTREAM_TWICE: Final = Message("mirror.upstream_twice", "two upstreams are called {name}")
