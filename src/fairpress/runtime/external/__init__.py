"""External models: their inputs, outputs, classes and categories."""
