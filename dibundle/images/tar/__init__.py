"""Archives as bytes: tar entries read and written, folders as archives. The only reader of tar."""
