"""A finished study's networks, told to an experiment tracker."""
