"""The split: its arithmetic, views instead of copies, and what each protocol may see."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flipbench.data import split
from flipbench.data.split import Rows, selection_rows, training_rows
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.errors import UserError


@pytest.fixture
def table() -> Table:
    return open_table("planted-tiny")


def same(a: Rows, b: Rows) -> bool:
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("ids", "labels", "groups"))


@given(st.integers(1, 10**9))
def test_sizes_are_the_papers(n: int) -> None:
    train = split.training_size(n)
    assert train == int(0.9 * n)
    assert split.fitting_size(train) == int(train * 8 / 9)
    assert split.training_size(739_012) == 665_110  # MovieLens-1M


ORDERS: list[split.Order] = ["chronological", "random", "file", "shuffled", "user"]


@pytest.mark.parametrize("order", ORDERS)
def test_held_out_parts_and_test_part_share_no_row(table: Table, order: split.Order) -> None:
    fit, valid = selection_rows(table, order, "held-out")
    test, train = split.test_rows(table, order), training_rows(table, order)
    assert (len(fit), len(valid), len(test)) == (3_200, 400, 400)
    assert np.array_equal(np.concatenate([fit.ids, valid.ids]), train.ids)
    assert np.array_equal(np.concatenate([fit.labels, valid.labels]), train.labels)
    pairs = np.concatenate([fit.ids, valid.ids, test.ids])
    assert len(np.unique(pairs, axis=0)) == len(table)  # no planted row occurs twice, so none is in two parts


@pytest.mark.parametrize("order", ORDERS)
def test_known_users_leave_their_past_to_fitting(table: Table, order: split.Order) -> None:
    fit, valid = selection_rows(table, order, "held-out", "known-users")
    train = training_rows(table, order)
    assert len(fit) + len(valid) == len(train)
    of_user = {user: train.ids[train.users == user] for user in np.unique(train.users)}
    held = {user: valid.ids[valid.users == user] for user in np.unique(valid.users)}
    assert len(held) == len(of_user) // 3  # each has the three rows that it takes
    for user, last in held.items():
        assert len(last) == len(of_user[user]) // 3
        assert np.array_equal(last, of_user[user][-len(last) :])
    test_pairs = {tuple(row) for row in split.test_rows(table, order).ids.tolist()}
    assert test_pairs.isdisjoint(map(tuple, valid.ids.tolist()))


def test_known_users_read_no_test_row(table: Table) -> None:
    changed = replace(table, ids=table.ids.copy(), labels=table.labels.copy())
    changed.labels[3_600:] ^= 1
    changed.ids[3_600:] = changed.ids[0]
    for ours, theirs in zip(
        *(selection_rows(t, "chronological", "held-out", "known-users") for t in (table, changed)), strict=True
    ):
        assert same(ours, theirs)


def test_too_few_rows_for_known_users(table: Table) -> None:
    once = np.unique(table.ids[:, table.user_column], return_index=True)[1]
    with pytest.raises(UserError, match="'last-ninth' has"):
        selection_rows(
            replace(table, ids=table.ids[once], labels=table.labels[once]), "file", "held-out", "known-users"
        )


def test_as_released_selects_on_the_test_part(table: Table) -> None:
    fit, valid = selection_rows(table, "chronological", "as-released")
    assert same(fit, training_rows(table, "chronological"))
    assert same(valid, split.test_rows(table, "chronological"))


def test_chronological_parts_are_views_of_the_memory_map(table: Table) -> None:
    parts = [*selection_rows(table, "chronological", "held-out"), split.test_rows(table, "chronological")]
    for part in parts:
        assert np.shares_memory(part.ids, table.ids)
        assert np.shares_memory(part.labels, table.labels)
    assert np.array_equal(parts[0].ids, table.ids[:3_200])
    assert np.array_equal(parts[2].ids, table.ids[3_600:])


def test_random_order_is_fixed_and_mixes_past_and_future(table: Table) -> None:
    one = training_rows(table, "random")
    assert same(one, training_rows(table, "random"))
    late = table.ids[3_600:, table.item_column].max()  # a cold item: only in the last tenth by time
    assert late in one.ids[:, table.item_column]
    assert late not in training_rows(table, "chronological").ids[:, table.item_column]
    both = np.concatenate([one.ids, split.test_rows(table, "random").ids])
    assert np.array_equal(np.unique(both, axis=0), np.unique(table.ids, axis=0))


def test_orders_of_data_without_times(table: Table) -> None:
    assert same(training_rows(table, "file"), training_rows(table, "chronological"))
    assert same(training_rows(table, "shuffled"), training_rows(table, "random"))
    train, test = training_rows(table, "user"), split.test_rows(table, "user")
    users = np.concatenate([train.users, test.users])
    assert np.array_equal(users, np.sort(table.ids[:, table.user_column]))
    assert len(np.intersect1d(train.users, test.users)) <= 1
    last = table.ids[table.ids[:, table.user_column] == users[-1]]
    assert np.array_equal(test.ids[-len(last) :], last)  # a user's rows stay in the table's order


@pytest.mark.parametrize("order", ORDERS)
def test_groups_number_the_users_by_first_appearance(table: Table, order: split.Order) -> None:
    rows = split.test_rows(table, order)
    number: dict[int, int] = {}
    expected = [number.setdefault(user, len(number)) for user in rows.ids[:, table.user_column].tolist()]
    assert rows.groups.tolist() == expected
    assert rows.groups.dtype == np.int32


def test_unknown_order_or_protocol_is_named_with_the_nearest(table: Table) -> None:
    with pytest.raises(UserError, match=r"unknown order 'chronologic'; did you mean 'chronological'"):
        training_rows(table, "chronologic")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"unknown protocol 'heldout'; did you mean 'held-out'"):
        selection_rows(table, "random", "heldout")  # type: ignore[arg-type]


def test_share_of_users_keeps_their_rows(table: Table) -> None:
    assert split.of_users(table, 1.0) is table
    some = split.of_users(table, 0.3)
    column = table.user_column
    users = np.unique(some.ids[:, column])
    assert len(users) == pytest.approx(0.3 * (table.offsets[column + 1] - table.offsets[column]), abs=1)
    rows = np.isin(table.ids[:, column], users)
    assert np.array_equal(some.ids, table.ids[rows])
    assert np.array_equal(some.labels, table.labels[rows])
    assert some.num_features == table.num_features
    assert not some.meta
    assert np.array_equal(split.of_users(table, 0.3).ids, some.ids)
    assert np.isin(np.unique(split.of_users(table, 0.1).ids[:, column]), users).all()
