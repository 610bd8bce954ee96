"""A network's graph that rounds: PT2E preparation, fake quantization, and the ONNX template."""
