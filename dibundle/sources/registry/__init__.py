"""Access to images and bundles in registries, by the OCI distribution API over urllib3.

Only this package imports urllib3.
"""
