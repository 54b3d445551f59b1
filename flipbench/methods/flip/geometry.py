"""How a table of embeddings fills its space: a narrow cone, or all of it (paper V-G, figures 2 and 8).

The decomposition is of the table as it is, not centred: centring would hide a cone (Qiu et al., WSDM 2022, eq. 5 and
figure 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Geometry:
    """What is measured of a table.

    Attributes:
        mean_cosine: over all pairs of two rows; near 1 in a narrow cone, near 0 where directions are even.
        effective_rank: exp of the entropy of the singular values' shares, 1 to D (Roy and Vetterli, EUSIPCO 2007).
        rms_norm: root mean square of the rows' lengths: the unit of a picture.
        singular_shares: [D] of the sum of the singular values, descending.
        axes: [D, 2], the first two right singular vectors, turned so that the rows' mean lies on their positive side.
    """

    mean_cosine: float
    effective_rank: float
    rms_norm: float
    singular_shares: NDArray[np.float64]
    axes: NDArray[np.float64]


def geometry(table: NDArray[np.float32]) -> Geometry:
    """The geometry of a table [M, D] of at least two rows, none of them zero.

    Raises:
        ValueError: fewer rows, or a zero or not finite one: it has no direction.
    """
    rows = table.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if len(rows) < 2 or not (np.isfinite(norms).all() and norms.all()):
        raise ValueError("a geometry needs two rows or more, finite and not zero")
    total = (rows / norms).sum(axis=0)  # |sum of unit rows|² is the sum of all cosines, a row's with itself included
    mean_cosine = (total @ total - len(rows)) / (len(rows) * (len(rows) - 1))
    # R has the table's singular values and right vectors, at the size of D x D
    _, values, right = np.linalg.svd(np.linalg.qr(rows, mode="r"))
    shares = values / values.sum()
    entropy = -(shares * np.log(shares, where=shares > 0, out=np.zeros_like(shares))).sum()
    axes = right[:2].T
    axes = axes * np.where(rows.mean(axis=0) @ axes < 0, -1.0, 1.0)
    return Geometry(float(mean_cosine), float(np.exp(entropy)), float(np.sqrt(np.mean(norms**2))), shares, axes)
