"""An audit as data: audit.json, its JSON Schema, and the summary inside an ONNX file."""
