"""Loops in C that would be too slow in Python, called through ctypes."""
