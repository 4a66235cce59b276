"""Measurements behind tools/benchmark.py."""
