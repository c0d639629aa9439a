"""What the full profile adds: packings, and codecs 4 to 6."""
