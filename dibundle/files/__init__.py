"""Bytes on this machine: files read at random, temporary files, outputs, compression, digests; how far work has got."""
