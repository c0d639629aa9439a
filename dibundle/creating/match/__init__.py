"""Which base content helps which target content (creation only)."""
