"""A pull-through registry that fetches bundles instead of layers if the bundles are smaller."""
