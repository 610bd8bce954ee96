"""Texts as token ids: tokenizers, their training, and datasets encoded by them."""
