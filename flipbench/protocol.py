"""Choices that a suite declares by name."""

from typing import Literal

Order = Literal["chronological", "random"]
"""``random``: a fixed permutation of the rows before the split; it leaks the future, and shows by how much."""

Protocol = Literal["held-out", "as-released"]
"""``held-out``: select on the last ninth of the training part. ``as-released``: select on the test part, as the
authors' code does."""

Precision = Literal["float32", "bfloat16"]
"""Of matrix products; sums, losses, tables and optimisers are float32 in both."""
