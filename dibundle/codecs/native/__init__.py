"""Hot loops in C, reached through ctypes. Every caller keeps a plain Python twin that gives the same bytes."""
