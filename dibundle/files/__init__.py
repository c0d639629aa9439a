"""Bytes on this machine: random-access files, temporary files, outputs, compression, digests; progress of work."""
