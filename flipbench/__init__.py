"""flipbench: do the numbers and the claims of FLIP (arXiv 2310.19453) hold?"""

__version__ = "0.1.0"
