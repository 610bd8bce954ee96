"""A recipe, made of typed steps, turns a model into a smaller one."""
