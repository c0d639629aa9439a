"""Bundles on their way: signed, wrapped as images, in registries, in Dockerfiles."""
