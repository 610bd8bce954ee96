"""ONNX models made elsewhere: their inputs, outputs, classes and categories."""
