"""Composition of a bundle: the program that rebuilds a target, and the frames that it reads (creation only)."""
