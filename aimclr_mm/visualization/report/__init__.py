"""HTML report of a run: curves, metrics, confusion, embedding, configuration, environment."""

from .page import build_page, write_report

__all__ = ['build_page', 'write_report']
