"""The search for content that a target shares with a source, and the choice of an encoding (creation only)."""
