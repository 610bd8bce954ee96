"""Artifacts (an ONNX file with its card): load, run, pack and benchmark them. Does not import torch."""
