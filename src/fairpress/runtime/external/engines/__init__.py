"""Loaders of model files, one per runtime: ONNX Runtime, OpenVINO, …"""
