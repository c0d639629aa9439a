"""Bytes on this machine: random-access files, temporary files, outputs, compression and digests.

Also the progress of work.
"""
