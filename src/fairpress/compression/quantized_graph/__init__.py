"""A network's fake-quantized graph: PT2E preparation, fake-quantize modules, and the ONNX template."""
