"""Rewriting of ONNX files: dynamic quantization, codebooks, float graphs."""
