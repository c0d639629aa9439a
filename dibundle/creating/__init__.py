"""Creation of bundles: read both sides, match, compose, encode, write."""
