"""Attacks on the decoders, with inputs from libFuzzer and from structure-aware mutators. Invariants are checked for
each input.
"""
