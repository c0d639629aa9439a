"""Attacks on the decoders. Inputs come from libFuzzer and from mutators that know the formats. Invariants are checked
for each input.
"""
