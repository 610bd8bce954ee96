"""Users' own tables and images, described in YAML."""
