"""How good a model is, and whether that is enough."""
