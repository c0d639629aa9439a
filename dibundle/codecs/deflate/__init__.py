"""Compressed layers made again: encoders that give what well-known writers gave (spec/deflate.md), and who it was.

Nothing here knows of gzip's header and trailer: a *body* is raw deflate, *content* is what it decodes to.
"""
