"""Choices that a suite declares by name."""

from typing import Literal

Order = Literal["chronological", "random", "file", "shuffled", "user"]
"""``random``: a fixed permutation of the rows before the split; it leaks the future, and shows by how much.

Where a data set has no times: ``file``, the rows as the raw file has them; ``shuffled``, a fixed permutation of them;
``user``, by user number, so that the test users are (all but one) new."""

Protocol = Literal["held-out", "as-released"]
"""``held-out``: select on a part of the training rows (:data:`Validation`). ``as-released``: select on the test part,
as the authors' code does."""

Validation = Literal["known-users", "last-ninth", "given"]
"""Which training rows epochs and settings are selected on. ``known-users``: the last third of the rows of a third of
the users, so that users have a past in fitting, as most have before the test. ``last-ninth``: the last ninth of the
training part, where on MovieLens-1M three rows of four are of users that fitting never sees. ``given``: the part that
the data set itself names for it."""

Precision = Literal["float32", "bfloat16"]
"""Of matrix products; sums, losses, tables and optimizers are float32 in both."""

Metric = Literal["auc", "logloss"]
"""AUC: higher is better. Logloss, in nats: lower is."""
