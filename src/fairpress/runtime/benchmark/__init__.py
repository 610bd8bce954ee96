"""Size, latency and memory of models, compared."""
