"""ONNX files: load, pack, annotate, convert for other runtimes."""
