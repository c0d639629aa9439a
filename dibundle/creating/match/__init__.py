"""Matching of base content to target content (creation only)."""
