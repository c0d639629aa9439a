"""Registries: the OCI distribution API over urllib3, images and bundles in it. The only importer of urllib3."""
