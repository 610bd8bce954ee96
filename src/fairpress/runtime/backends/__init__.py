"""Inference backends: ONNX Runtime and OpenVINO behind one interface."""
