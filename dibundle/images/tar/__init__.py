"""Archives as bytes: reading and writing tar entries, folders as archives. The only reader of tar."""
