"""Read-only views: the operations and the bytes of a bundle, and the differences between two images."""
