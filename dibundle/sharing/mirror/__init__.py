"""A pull-through registry that fetches bundles instead of layers if they are smaller."""
