"""Sources that a user names: files, parts, streams, folders, engines, registries.

Each is opened once, and its kind is detected by content.
"""
