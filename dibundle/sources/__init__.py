"""Sources that a user names: files, parts, streams, folders, engines, registries; opened once, detected by content."""
