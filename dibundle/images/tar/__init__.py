"""The only reader of tar: it reads and writes tar entries, and reads folders as archives."""
