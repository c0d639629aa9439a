"""Transports of bundles: signatures, images that wrap a bundle, registries, Dockerfiles."""
