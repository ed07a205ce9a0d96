"""From a parameter count to a transformers model."""
