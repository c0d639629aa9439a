"""Encoders that give the zstd frames of well-known programs, and what finds out which one it was (spec/zstd.md)."""
