"""Content-addressed storage of results; an entry exists only when it is complete."""
