"""Size, latency and memory of models, side by side."""
