"""Choices that a suite declares by name."""

from typing import Literal

Order = Literal["chronological", "random", "file", "shuffled", "user"]
"""``random``: a fixed permutation of the rows before the split; it leaks the future, and shows by how much.

Where a data set has no times: ``file``, the rows as the raw file has them; ``shuffled``, a fixed permutation of them;
``user``, by user number, so that the test users are (all but one) new."""

Protocol = Literal["held-out", "as-released"]
"""``held-out``: select on the last ninth of the training part. ``as-released``: select on the test part, as the
authors' code does."""

Precision = Literal["float32", "bfloat16"]
"""Of matrix products; sums, losses, tables and optimizers are float32 in both."""

Metric = Literal["auc", "logloss"]
"""AUC: higher is better. Logloss, in nats: lower is."""
