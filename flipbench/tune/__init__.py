"""Searching settings: which points are tried, which one won, and the record of it."""

from flipbench.tune.search import Figure, Search, figures, points, search

__all__ = ["Figure", "Search", "figures", "points", "search"]
