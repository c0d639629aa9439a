"""Bundles of the core profile: dib.md without 3.5 and 4.6, and vcdiff.md."""
