"""Attacks on the decoders: inputs from libFuzzer and structure-aware mutators, and the invariants for each input."""
