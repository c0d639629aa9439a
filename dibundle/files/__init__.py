"""Bytes on this machine: random-access files, temporary files, outputs, compression and digests.

The package also reports the progress of work.
"""
