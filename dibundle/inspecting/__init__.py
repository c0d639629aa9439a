"""Read-only views: what a bundle does, where its bytes go, what differs between two images."""
