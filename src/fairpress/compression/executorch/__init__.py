"""Export networks to ExecuTorch, PyTorch's runtime for phones: float32 or 8 bits, on XNNPACK."""
