"""Recipes: YAML with positions, then a schema, then frozen types; runs no user code and knows nothing of stages."""
