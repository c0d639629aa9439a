"""Composing a bundle: the program that rebuilds a target, and the frames that feed it (creation only)."""
