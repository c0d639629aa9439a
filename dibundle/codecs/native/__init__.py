"""Hot loops in C, reached through ctypes."""
