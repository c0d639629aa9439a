"""Registries: the OCI distribution API over urllib3, with images and bundles. The only importer of urllib3."""
