"""External ONNX models: their inputs, outputs, classes and categories."""
