"""Tests of differences and of equivalence: DeLong, user-clustered bootstrap, t over seeds, TOST, Holm."""

from flipbench.stats.bootstrap import Resampled, bootstrap_difference, bootstrap_metrics
from flipbench.stats.compare import compare, compare_resampled
from flipbench.stats.delong import DeLong, delong_test, hanley_mcneil
from flipbench.stats.difference import Difference
from flipbench.stats.equivalence import Verdict, paired_t, seeds_needed, tost, verdict
from flipbench.stats.multiplicity import holm

__all__ = [
    "DeLong",
    "Difference",
    "Resampled",
    "Verdict",
    "bootstrap_difference",
    "bootstrap_metrics",
    "compare",
    "compare_resampled",
    "delong_test",
    "hanley_mcneil",
    "holm",
    "paired_t",
    "seeds_needed",
    "tost",
    "verdict",
]
