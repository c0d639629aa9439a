"""Codecs and transforms that turn source content and a payload into target content, and the choice between them."""
