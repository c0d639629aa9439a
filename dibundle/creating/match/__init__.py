"""Find base content that matches target content (creation only)."""
