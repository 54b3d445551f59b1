"""Figures of a suite, drawn from its stored runs alone."""

from flipbench.report.figures.write import write_figures

__all__ = ["write_figures"]
