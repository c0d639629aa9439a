"""Attacks on the decoders: inputs that libFuzzer and structure-aware mutators make, and what must hold for each."""
