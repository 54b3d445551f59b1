"""Many tests at once."""

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scand. J. Stat. 6, 1979): p-values that keep the chance of any false alarm.

    Args:
        p: in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in the same order.
    """
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(p, method="holm")[1]] if p else []
