"""Content-addressed results: an entry exists only when it is complete."""
