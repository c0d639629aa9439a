"""Delta bundles for container images, as files."""

__version__ = "0.1.0"
