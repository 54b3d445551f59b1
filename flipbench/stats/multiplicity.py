"""Many tests at once."""

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scand. J. Stat. 6, 1979): p-values that bound the chance of any false alarm.

    Args:
        p: in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in the same order.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted: list[float] = multipletests(p, method="holm")[1].tolist() if p else []
    return adjusted
