"""Running tasks: local workers, Ray workers, progress."""
