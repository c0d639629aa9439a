"""The only reader of tar. It reads and writes tar entries, and reads folders as archives."""
