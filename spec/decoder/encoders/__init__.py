"""The encoders of compressed layers (deflate.md, zstd.md), bit by bit. The code is part of the specification."""
