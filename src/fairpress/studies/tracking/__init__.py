"""A finished study's networks, exported to an experiment tracker."""
