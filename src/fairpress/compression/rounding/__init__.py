"""Rounding of weights that looks at what the layer computes, instead of to the nearest integer."""
