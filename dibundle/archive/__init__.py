"""Archives as bytes: random access, tar entries, and the opening of what a user names. The only reader of tar."""
