"""Attacks on the decoders, with inputs from libFuzzer and structure-aware mutators, and invariants for each input."""
