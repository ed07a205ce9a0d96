"""Benchmarks, and how a model is scored on them."""
