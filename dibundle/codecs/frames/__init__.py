"""Encoders that produce the same zstd frames as well-known programs, and the search for the right encoder.

The frames are described in spec/zstd.md.
"""
