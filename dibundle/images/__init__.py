"""Images in an archive.

They show which outer members are layers, configs or manifests, and which digests are claimed.
"""
