"""A study: a matrix of dataset × model × recipe × seed, run once and remembered."""
