"""Many tests at once."""

from collections.abc import Sequence


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Scand. J. Stat. 6, 1979): p-values that keep the chance of any false alarm.

    The k-th smallest of m counts m - k + 1 times, and never less than a smaller one.

    Args:
        p: in [0, 1], in any order; may be empty.

    Returns:
        Adjusted p-values in the same order.
    """
    adjusted, least = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        least = adjusted[i] = max(least, min(1.0, (len(p) - rank) * p[i]))
    return adjusted
