"""The ledger of a search, against values known beforehand."""

import json
import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flipbench import cli
from flipbench.data.store import fingerprint
from flipbench.plan import expand as plan
from flipbench.plan import registry, suite
from flipbench.report.ledger import expected_best, ledger
from flipbench.store.runs import Store

VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@given(VALUES, st.integers(1, 4))
def test_expected_best_is_the_mean_over_every_draw(values, trials):
    draws = [max(draw) for draw in product(values, repeat=trials)]
    assert expected_best(values, trials) == pytest.approx(sum(draws) / len(draws))
    lowest = [min(draw) for draw in product(values, repeat=trials)]
    assert expected_best(values, trials, "logloss") == pytest.approx(sum(lowest) / len(lowest))


@pytest.mark.parametrize(("values", "trials"), [([], 1), ([0.5], 0)])
def test_expected_best_needs_something_to_draw(values, trials):
    with pytest.raises(ValueError, match="at least one"):
        expected_best(values, trials)


@pytest.fixture
def ledger_of(suite_file, tmp_path):
    """The ledger after trials with the given figures (NaN: failed, None: yet to run), and the suite's path."""

    def make(figures, options="budget: 4"):
        path, store = suite_file(methods="[deepfm]", tune=f"{{search: grid, {options}}}"), Store(tmp_path / "results")
        store.prepare()
        found = suite.load(str(path))
        prints = {"planted-tiny": fingerprint("planted-tiny")}
        (cell,) = plan.expand(found, prints, store.trial_metric).cells
        for trial, figure in zip(cell.trials, figures, strict=True):
            if figure is None:
                continue
            if math.isnan(figure):
                store.fail(trial, "OutOfMemoryError", "", {"seconds": 1800.0})
                continue
            store.work(trial)
            best = {"best": {"epoch": 0, "auc": figure, "logloss": 1 - figure}}
            store.commit(trial, {"metrics.json": best, "env.json": {"seconds": 3600.0}})
        planned = plan.expand(found, prints, store.trial_metric)
        return path, planned, ledger(planned.cells, store, found.tune.select)[0]

    return make


def test_a_ledger_counts_what_was_done_failed_and_spent(ledger_of):
    _, _, entry = ledger_of([0.70, math.nan, 0.68, 0.75])
    assert (entry.trials, entry.done, entry.failed) == (4, 3, 1)
    assert entry.device_hours == 3.5
    assert entry.curve == (0.70, 0.70, 0.75)
    assert entry.best == 0.75
    assert entry.expected[0] == pytest.approx(0.71)
    assert entry.expected == tuple(sorted(entry.expected))


def test_by_logloss_less_is_better(ledger_of):
    _, _, entry = ledger_of([0.70, 0.72, 0.68, None], "budget: 4, select: logloss")
    assert entry.curve == pytest.approx((0.30, 0.28, 0.28))
    assert list(entry.expected) == sorted(entry.expected, reverse=True)


def test_a_best_beyond_which_none_was_tried_is_named(ledger_of):
    _, planned, entry = ledger_of([0.9, 0.5, 0.5, 0.5])
    points = planned.cells[0].search.points
    rates = [point["learning_rate"] for point in points]
    assert rates[0] == max(rates) > min(rates)
    border = f"learning_rate = {rates[0]:g}, highest of those tried, {min(rates):g} to {rates[0]:g}"
    assert border in entry.borders
    assert not [b for b in entry.borders if b.startswith(("dropout", "batch_norm"))], "nothing lies below 0"


def test_points_that_a_small_grid_lacks_are_counted(ledger_of, capsys):
    size = math.prod(map(len, registry.get("deepfm").grid.values()))  # the declared settings are one of its points
    path, _, entry = ledger_of([None] * size, f"budget: {size + 123}")
    assert (entry.trials, entry.missing) == (size, 123)
    assert cli.main(["ledger", str(path)]) == 0
    assert " 123 " in capsys.readouterr().out


def test_the_verb_prints_and_gives_json(ledger_of, capsys):
    path, _, _ = ledger_of([0.70, math.nan, 0.68, None])
    assert cli.main(["ledger", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["equal"] == {"planted-tiny": 2}
    (entry,) = document["searches"]
    assert (entry["done"], entry["failed"], entry["curve"]) == (2, 1, [0.70, 0.70])
    assert cli.main(["ledger", str(path)]) == 0
    assert "2/4" in capsys.readouterr().out


def test_a_suite_that_searches_nothing_says_so(suite_file, capsys):
    assert cli.main(["ledger", str(suite_file())]) == 1
    assert "mini: nothing is searched" in capsys.readouterr().err
