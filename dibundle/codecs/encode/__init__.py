"""Creation only: finding content that a target shares with a source, and choosing how to encode the target."""
