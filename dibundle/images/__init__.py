"""Images in an archive.

Reading the images shows which outer members are layers, configs or manifests, and which digests are claimed.
"""
