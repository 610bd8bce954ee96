"""Quantization: calibration, bit widths per layer, quantization-aware training, many networks at once."""
