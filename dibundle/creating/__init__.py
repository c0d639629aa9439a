"""Creation of bundles. The steps are: read both sides, match, compose, encode, write."""
