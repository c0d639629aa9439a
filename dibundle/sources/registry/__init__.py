"""Registries: the OCI distribution API over urllib3, with images and bundles. Only this package imports urllib3."""
