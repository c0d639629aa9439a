"""What a user names: files, parts, streams, folders, engines and registries; opened once, recognised by content."""
