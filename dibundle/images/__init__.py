"""Images in an archive: which outer member is a layer, a config or a manifest, and what digests are claimed for it."""
