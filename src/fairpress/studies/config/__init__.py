"""What a study's YAML may contain, and its validation."""
