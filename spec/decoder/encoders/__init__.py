"""The encoders of compressed layers (deflate.md, zstd.md): what they write, bit by bit."""
