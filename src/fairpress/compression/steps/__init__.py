"""Steps of recipes, an algorithm a file."""
