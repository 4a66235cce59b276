"""Reproduction of the paper's tables: published numbers, plans of jobs, runs, results."""
