"""Codecs and transforms, which turn source content and a payload into target content, and the choice of a codec."""
