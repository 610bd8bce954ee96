"""Steps of recipes, one algorithm per file."""
