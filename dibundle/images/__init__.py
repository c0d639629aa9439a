"""Images in an archive: which outer members are layers, configs or manifests, and the digests claimed for them."""
