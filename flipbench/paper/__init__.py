"""What the paper prints: its numbers and its names."""

from flipbench.paper.names import FAMILIES, dataset_name, family, method_name, row_name
from flipbench.paper.values import load_tables, paper_datasets, paper_methods, paper_starred, paper_value

__all__ = [
    "FAMILIES",
    "dataset_name",
    "family",
    "load_tables",
    "method_name",
    "paper_datasets",
    "paper_methods",
    "paper_starred",
    "paper_value",
    "row_name",
]
