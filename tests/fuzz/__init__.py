"""Attacks on the decoders, with inputs from libFuzzer and from mutators that know the formats. Invariants are checked
for each input.
"""
