"""Sources that a user names: files, parts, streams, folders, engines and registries.

Each source is opened once, and its kind is detected by its content.
"""
