"""Planted data: the same on every machine, learnable, and bounded by its truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from flipbench.data.check import check
from flipbench.data.dataset import get
from flipbench.data.planted_generator import weighted_auc
from flipbench.data.split import test_rows as rows_of_test
from flipbench.data.split import training_rows
from flipbench.data.store import open_table, truth, values
from flipbench.data.table import Table


@pytest.fixture(params=["planted-tiny", "planted-small", "planted-rare"])
def table(request: pytest.FixtureRequest) -> Table:
    return open_table(request.param)


def test_the_table_is_the_same_everywhere(table: Table) -> None:
    size, counts = get(table.name).options["size"], np.diff(table.offsets)
    assert table.fingerprint == get(table.name).fingerprint
    assert (len(table), counts[0], counts[5]) == (size.rows, size.users, counts[6])  # titles are unique
    assert counts[5] == size.items or table.name == "planted-rare"  # too few rows to show every item
    pairs = np.unique(table.ids[:, [table.user_column, table.item_column]], axis=0)
    assert len(pairs) == len(table)
    assert 0.5 < table.labels.mean() < 0.7


@pytest.mark.parametrize("name", ["planted-tiny", "planted-small"])
def test_a_share_of_the_items_appears_only_in_the_test_part(name: str) -> None:
    table = open_table(name)
    train = training_rows(table, "chronological").ids[:, table.item_column]
    test = rows_of_test(table, "chronological").ids[:, table.item_column]
    cold = np.setdiff1d(test, train)
    assert 0.10 <= len(cold) / get(name).options["size"].items <= 0.15
    assert np.isin(test, cold).sum() == table.meta["test_rows_of_cold_items"]


def test_most_of_the_rare_items_have_few_training_rows_or_none() -> None:
    table = open_table("planted-rare")
    train = training_rows(table, "chronological").ids[:, table.item_column]
    shown = np.bincount(train, minlength=table.num_features)[rows_of_test(table, "chronological").ids[:, 5]]
    assert (shown == 0).sum() > 1_500
    assert ((shown > 0) & (shown <= 5)).sum() > 1_000


def test_labels_are_drawn_with_the_true_probability(table: Table) -> None:
    p, y = truth(table).astype(float), table.labels.astype(float)
    assert np.abs(p * 10_000 - np.rint(p * 10_000)).max() < 1e-3  # multiples of a ten thousandth
    for low, high in ((0, 2), (0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 2)):
        rows = (p >= low) & (p < high)
        assert abs((y - p)[rows].sum()) < 4 * np.sqrt((p * (1 - p))[rows].sum())


def test_models_learn_a_good_part_and_the_truth_bounds_them() -> None:
    table = open_table("planted-small")
    train, test = training_rows(table, "chronological"), rows_of_test(table, "chronological")
    one_hot = OneHotEncoder(handle_unknown="ignore").fit(train.ids)
    model = LogisticRegression(C=0.3, max_iter=300).fit(one_hot.transform(train.ids), train.labels)
    auc = roc_auc_score(test.labels, model.predict_proba(one_hot.transform(test.ids))[:, 1])
    bayes = roc_auc_score(test.labels, truth(table)[len(train) :])
    assert 0.70 < auc < bayes
    assert bayes == pytest.approx(table.meta["bayes_auc"], abs=1e-4)
    assert table.meta["bayes_auc"] == pytest.approx(0.85, abs=0.02)
    assert table.meta["bayes_auc"] == pytest.approx(table.meta["bayes_auc_expected"], abs=0.01)


def test_titles_predict_the_clicks_of_items_never_seen() -> None:
    """A bag of title words, learnt on the training items, ranks the cold items; their ids cannot."""
    table = open_table("planted-small")
    strings = np.array(["", *values(table).to_pylist()])
    users, titles = strings[table.ids[:, 2]], strings[table.ids[:, 6]]  # age bracket and title
    vocabulary = {w: i for i, w in enumerate(sorted({w for t in set(titles) for w in t.split()[1:3]}))}
    ages = {a: i for i, a in enumerate(sorted(set(users)))}
    n = 54_000
    codes = np.array([[vocabulary[w] * len(ages) + ages[a] for w in t.split()[1:3]] for t, a in zip(titles, users)])  # noqa: B905
    y = table.labels.astype(float)
    seen = np.bincount(codes[:n].ravel(), minlength=len(vocabulary) * len(ages))
    liked = np.bincount(codes[:n].ravel(), np.repeat(y[:n], 2), minlength=len(seen))
    score = ((liked + 6) / (seen + 10))[codes[n:]].sum(1)
    cold = ~np.isin(table.ids[n:, 5], table.ids[:n, 5])
    assert roc_auc_score(y[n:][cold], score[cold]) > 0.55


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2, max_size=12))
def test_weighted_auc_is_the_mean_over_pairs(rows: list[tuple[int, float]]) -> None:
    wins = pairs = 0.0
    for i, (s, p) in enumerate(rows):
        for j, (t, q) in enumerate(rows):
            if i != j:
                pairs += p * (1 - q)
                wins += p * (1 - q) * ((s > t) + 0.5 * (s == t))
    score, positive = (np.array(column, float) for column in zip(*rows, strict=True))
    if pairs:
        assert weighted_auc(score, positive) == pytest.approx(wins / pairs)
    if set(positive) == {0.0, 1.0}:
        assert weighted_auc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_check_shows_the_bayes_auc() -> None:
    result, notes = check("planted-tiny"), open_table("planted-tiny").meta
    lines = {what: ours for what, ours, _, _ in result.rows()}
    assert {key: lines[key.replace("_", " ")] for key in notes} == {key: str(value) for key, value in notes.items()}
    assert "bayes auc cold expected" in lines
    assert (result.ok, result.as_dict()["name"]) == (True, "planted-tiny")
