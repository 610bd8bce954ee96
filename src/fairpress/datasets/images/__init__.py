"""Image files: found, hashed, decoded once and cached."""
