"""Architectures by name, built from a card or a config."""

from fairpress.core.cache import keep_compiler_cache

keep_compiler_cache()
