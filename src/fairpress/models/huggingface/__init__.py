"""Text classifiers and encoders from folders that Hugging Face's transformers wrote; the hub is never called."""
