"""The split, and the lock on the test rows.

First nine tenths train, last tenth test, in an order that the suite names (:data:`flipbench.protocol.Order`), or as a
described data set says (:class:`flipbench.data.table.Layout`).
Under the held-out protocol only :func:`test_rows` gives access to the test part.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from flipbench.data.table import Table
from flipbench.errors import UserError, nearest
from flipbench.protocol import Order, Protocol, Validation


@dataclass(frozen=True)
class Rows:
    """Some rows of a table, in order.

    Attributes:
        ids: [n, F] int32; a view of the memory map where the order is the table's own.
        labels: [n] uint8.
        users: [n] int32, equal for rows of one user.
    """

    ids: NDArray[np.int32]
    labels: NDArray[np.uint8]
    users: NDArray[np.int32]

    @cached_property
    def groups(self) -> NDArray[np.int32]:
        """[n] int32: the users numbered by first appearance within these rows, to resample them by."""
        from pandas import factorize

        codes: NDArray[np.int32] = factorize(self.users)[0].astype(np.int32)
        return codes

    def take(self, chosen: NDArray[np.bool_]) -> "Rows":
        """The rows where ``chosen`` [n] is true; a view where they are neighbours."""
        where = np.flatnonzero(chosen)
        together = len(where) and where[-1] - where[0] + 1 == len(where)
        rows = slice(where[0], where[-1] + 1) if together else where
        return Rows(self.ids[rows], self.labels[rows], self.users[rows])

    def __len__(self) -> int:
        return len(self.labels)


def of_users(table: Table, share: float) -> Table:
    """The rows of a share of the users, in the table's order; always the same users, with the whole table's features.

    What is known of the table as a whole (``meta``) is left out.
    """
    if share == 1.0:
        return table
    if table.users is None:
        first, stop = table.offsets[table.user_column], table.offsets[table.user_column + 1]
        of_row = table.ids[:, table.user_column] - first
    else:
        first, stop, of_row = 0, int(table.users.max()) + 1, table.users
    kept = np.zeros(stop - first, bool)
    kept[permutation(len(kept))[: max(1, round(share * len(kept)))]] = True
    rows = np.flatnonzero(kept[of_row])
    users, layout = None if table.users is None else table.users[rows], table.layout
    if layout and layout.parts:
        left = np.diff(np.searchsorted(rows, np.cumsum([0, *layout.parts])))
        layout = replace(layout, parts=(int(left[0]), int(left[1]), int(left[2])))
    ids, labels = table.ids[rows], table.labels[rows]
    return replace(table, ids=ids, labels=labels, meta={}, layout=layout, users=users)


def training_size(rows: int) -> int:
    """Rows of the training part: int(0.9 rows)."""
    return rows * 9 // 10


def fitting_size(training: int) -> int:
    """Rows of the training part that a held-out selection trains on: int(8/9 of it), or about as many."""
    return training * 8 // 9


def sizes(table: Table) -> tuple[int, int]:
    """Rows of the training part, and those of them before the validation part that the data set gives; else all."""
    if table.layout:
        return table.layout.sizes(len(table))
    return training_size(len(table)), training_size(len(table))


def training_rows(table: Table, order: Order) -> Rows:
    """The training part: the first 90 %, where the data set does not say otherwise."""
    return _rows(table, order, 0, sizes(table)[0])


def selection_rows(
    table: Table, order: Order, protocol: Protocol, validation: Validation = "last-ninth"
) -> tuple[Rows, Rows]:
    """What epochs and settings are selected with: rows to train on, rows to score.

    Under ``held-out`` both lie in the training part, and ``validation`` says which of its rows are scored. Under
    ``as-released`` they are the training part and the test part: scores so selected are optimistic.

    Raises:
        UserError: unknown order, protocol or validation part, no user has the three rows that ``known-users`` needs, or
            the data set gives no validation part.
    """
    if protocol == "as-released":
        return training_rows(table, order), test_rows(table, order)
    for what, value, valid in (("protocol", protocol, Protocol), ("validation", validation, Validation)):
        if value not in get_args(valid):
            raise UserError(f"unknown {what} '{value}'{nearest(value, get_args(valid))}")
    training = training_rows(table, order)
    if validation == "given":
        held = np.arange(len(training)) >= sizes(table)[1]
        if not held.any():
            raise UserError(f"{table.name}: validation: the data set gives no part of its own; 'last-ninth' is one")
        if held.all():
            raise UserError(f"{table.name}: validation: 'given' leaves no row to train on")
    elif validation == "last-ninth":
        held = np.arange(len(training)) >= fitting_size(len(training))
    else:
        if table.layout and not table.layout.clustered:
            raise UserError(f"{table.name}: validation: 'known-users' needs a column of users; 'last-ninth' does not")
        held = _of_known_users(training.users)
        if not held.any():
            raise UserError(
                f"{table.name}: validation: no user of 'known-users' has three training rows; 'last-ninth' has"
            )
    return training.take(~held), training.take(held)


def _of_known_users(users: NDArray[np.int32]) -> NDArray[np.bool_]:
    """[n] bool: of a third of the users, drawn once and for all, the last third of the rows in their order."""
    from pandas import Series

    codes, order_of_user = np.unique(users, return_inverse=True)
    rows = Series(order_of_user).groupby(order_of_user)
    count, left = rows.transform("size").to_numpy(), rows.cumcount(ascending=False).to_numpy()
    chosen = permutation(len(codes))[: max(1, len(codes) // 3)]
    held: NDArray[np.bool_] = np.isin(order_of_user, chosen) & (left < count // 3)
    return held


def test_rows(table: Table, order: Order) -> Rows:
    """The test part: the last 10 %, or the data set's own. For the final evaluation alone."""
    return _rows(table, order, sizes(table)[0], len(table))


def test_ids(table: Table, order: Order) -> NDArray[np.int32]:
    """Feature ids [n, F] of the test part without its labels: for what is looked at, not scored."""
    return test_rows(table, order).ids


def _rows(table: Table, order: Order, start: int, stop: int) -> Rows:
    if order not in get_args(Order):
        raise UserError(f"unknown order '{order}'{nearest(order, get_args(Order))}")
    chosen: slice | NDArray[np.intp] = slice(start, stop)
    if order in ("random", "shuffled"):
        chosen = permutation(len(table))[start:stop]
    elif order == "user":  # ids of users are in the order of their numbers
        chosen = np.argsort(table.ids[:, table.user_column], kind="stable")[start:stop]
    ids = table.ids[chosen]
    if table.users is not None:
        users = table.users[chosen]
    elif table.layout and not table.layout.clustered:  # every row for itself
        users = np.arange(len(ids), dtype=np.int32)
    else:
        users = ids[:, table.user_column]
    return Rows(ids, table.labels[chosen], users)


def permutation(n: int) -> NDArray[np.intp]:
    """The one random order of n rows or users."""
    # numpy guarantees the raw stream of a bit generator, not what Generator.permutation makes of it
    return np.argsort(np.random.PCG64(0).random_raw(n), kind="stable")
