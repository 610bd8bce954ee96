"""Fit a model: one network or many at once."""

from fairpress.core.cache import keep_compiler_cache

keep_compiler_cache()
