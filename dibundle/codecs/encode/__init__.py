"""What creating alone needs: looking for what content has in common with a source, and choosing how to encode it."""
