"""A recipe, made of typed steps, turns a model into a smaller one."""

from fairpress.core.cache import keep_compiler_cache

keep_compiler_cache()
