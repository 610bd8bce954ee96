"""The artifact: one ONNX file with its card. Load it, run it, pack it, weigh it, time it. No torch here."""
