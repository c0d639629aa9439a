"""Recompressed layers: encoders that give the bytes of well-known writers (spec/deflate.md), and the search for them.

Nothing here handles gzip's header and trailer: a *body* is raw deflate, and *content* is the decoded body.
"""
