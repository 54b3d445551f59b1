"""Figures of a suite, drawn from its stored runs alone."""

from flipbench.report.figures.write import Figures, write_figures

__all__ = ["Figures", "write_figures"]
