"""The recompression of layers.

Encoders produce the same bytes as well-known programs. A search finds the right encoder (spec/deflate.md).

Nothing here handles gzip's header and trailer. A *body* is raw deflate, and *content* is the decoded body.
"""
