"""Recompressed layers. Encoders give the bytes of well-known writers, and a search finds the encoder (spec/deflate.md).

Nothing here handles gzip's header and trailer. A *body* is raw deflate, and *content* is the decoded body.
"""
