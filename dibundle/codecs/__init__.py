"""Codecs and transforms turn source content and a payload into target content. This package also chooses the codec."""
