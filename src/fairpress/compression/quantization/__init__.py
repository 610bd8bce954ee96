"""Quantization: calibration, widths per layer, training with rounding, many networks at once."""
