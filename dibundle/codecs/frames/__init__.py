"""Encoders that give the zstd frames of well-known programs, and the search for the right encoder (spec/zstd.md)."""
