"""Composition of a bundle: programs that rebuild targets, and the programs' frames (creation only)."""
