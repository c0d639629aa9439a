"""The only package that reads tars. It reads and writes tar entries, and reads folders as archives."""
