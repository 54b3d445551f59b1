"""Tests of differences and of equivalence: DeLong, user-clustered bootstrap, t over seeds, TOST, Holm."""

from flipbench.stats.bootstrap import Resampled, bootstrap_metrics
from flipbench.stats.compare import compare, compare_resampled
from flipbench.stats.delong import hanley_mcneil
from flipbench.stats.difference import Difference
from flipbench.stats.equivalence import Verdict, paired_t, seeds_needed, tost, verdict
from flipbench.stats.multiplicity import holm

__all__ = [
    "Difference",
    "Resampled",
    "Verdict",
    "bootstrap_metrics",
    "compare",
    "compare_resampled",
    "hanley_mcneil",
    "holm",
    "paired_t",
    "seeds_needed",
    "tost",
    "verdict",
]
