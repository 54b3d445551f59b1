"""FLIP (Wang et al., RecSys 2024, arXiv 2310.19453)."""
