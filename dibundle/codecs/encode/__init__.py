"""Search for content that target and source share, and choose an encoding (creation only)."""
