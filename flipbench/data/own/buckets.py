"""Numbers as features: which bucket each falls into, and the words for it.

A bucket holds its lower edge and not its upper one. What is fitted is fitted on the training rows alone.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from flipbench.data.clean import UNKNOWN
from flipbench.data.own.description import Buckets

Float = NDArray[np.float64]


def in_words(buckets: Buckets, numbers: Float, training: NDArray[np.integer]) -> list[str]:
    """The bucket of each number, in words: ``under 10``, ``10 to 20``, ``20 or more``.

    Args:
        numbers: [V], the different numbers of a column; NaN where there is none.
        training: [V], how many training rows have each.

    Returns:
        [V], ``unknown`` for NaN.
    """
    if buckets.base:
        return [_power(buckets.base, x) for x in numbers.tolist()]
    edges = np.array(buckets.edges) if buckets.edges else _quantiles(numbers, training, buckets.quantiles or 2)
    ends = [written(edge) for edge in edges.tolist()]
    if not ends:
        return [UNKNOWN if math.isnan(x) else "any" for x in numbers.tolist()]
    middle = [f"{low} to {high}" for low, high in pairwise(ends)]
    names = [f"under {ends[0]}", *middle, f"{ends[-1]} or more"]
    places = np.searchsorted(edges, numbers, side="right")
    return [UNKNOWN if none else names[i] for i, none in zip(places.tolist(), np.isnan(numbers).tolist(), strict=True)]


def _quantiles(numbers: Float, training: NDArray[np.integer], count: int) -> Float:
    """The numbers at the quantiles 1/count to (count - 1)/count of the training rows that have one, each once.

    Edges are numbers that occur, so that what is fitted does not depend on how a library interpolates. The smallest
    number is no edge: nothing lies under it.
    """
    known = ~np.isnan(numbers) & (training > 0)
    order = np.argsort(numbers[known], kind="stable")
    values, cumulated = numbers[known][order], np.cumsum(training[known][order])
    if not len(values):
        return np.zeros(0)
    ranks = -(-cumulated[-1] * np.arange(1, count) // count)
    edges: Float = np.unique(values[np.searchsorted(cumulated, ranks)])
    above: Float = edges[edges > values[0]]
    return above


def _power(base: float, number: float) -> str:
    """The powers of the base that a number lies between."""
    if math.isnan(number):
        return UNKNOWN
    if number <= 0:
        return "0" if number == 0 else "under 0"
    power = math.floor(math.log(number, base))
    while base**power > number:  # a logarithm is rounded
        power -= 1
    while base ** (power + 1) <= number:
        power += 1
    return f"{written(base**power)} to {written(base ** (power + 1))}"


def written(number: float) -> str:
    """A number without a needless point or zero, so that different numbers are written differently."""
    if number == math.trunc(number) and abs(number) < 1e16:
        return str(int(number))
    return repr(number)
