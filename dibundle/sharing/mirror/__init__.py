"""A pull-through registry that fetches bundles in place of layers where that is less."""
