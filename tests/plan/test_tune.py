"""What a search tries, and the record of it in Optuna studies."""

import math
from itertools import pairwise

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from flipbench.identity import canonical
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.plan.entries import Tune
from flipbench.plan.sampler import ask, distributions
from flipbench.plan.search import best_of, search
from flipbench.store.runs import Store
from flipbench.store.studies import Studies

GRID = {"rate": [1e-4, 1e-3], "l2": [0.0, 1e-5, 1e-3], "drop": [0.0, 0.4], "heads": [1, 2, 4], "norm": [False, True]}
DECLARED = {"rate": 5e-4, "l2": 0.0, "drop": 0.0, "heads": 2, "norm": False, "hidden": [8, 8]}


def looked(how, figure, grid=GRID, fixed=()):
    """A search as far as the known figures decide it; a point stands for the stage that trains it."""
    return search(how, grid, DECLARED, dict.fromkeys(fixed), dict, lambda point, _: figure(point))


def bowl(point):
    """A validation figure with its best at rate 3e-4 and drop .2."""
    return 0.8 - (math.log10(point["rate"]) - math.log10(3e-4)) ** 2 / 10 - (point["drop"] - 0.2) ** 2


def to_the_end(how):
    """A search whose trials are run as they are asked; the trials known at each look."""
    known, looks = {}, []
    while (result := looked(how, lambda point: known.get(canonical(point)))).best is None:
        looks.append([canonical(point) for point in result.points])
        known.update({canonical(point): bowl(point) for point in result.points})
    return result, [*looks, [canonical(point) for point in result.points]]


def test_tpe_asks_in_rounds_and_never_takes_a_point_back():
    result, looks = to_the_end(Tune(search="tpe", budget=10, round=4))
    assert [len(look) for look in looks] == [4, 8, 10, 10]
    assert all(later[: len(look)] == look for look, later in pairwise(looks))
    assert len(set(looks[-1])) == 10, "each point once"
    assert result.points[0] == DECLARED
    assert result.best == max(range(10), key=lambda i: bowl(result.points[i]))


def test_tpe_does_not_ask_on_while_a_trial_of_the_round_runs():
    how = Tune(search="tpe", budget=8, round=4)
    first = looked(how, lambda point: None).points
    waiting = looked(how, lambda point: None if point == first[2] else bowl(point))
    assert (len(waiting.points), waiting.best) == (4, None)
    failed = looked(how, lambda point: math.nan if point == first[2] else bowl(point))
    assert len(failed.points) == 8, "a failure is known"


def test_tpe_learns_from_what_it_saw():
    def distance(how):
        late = to_the_end(Tune(search=how, budget=30))[0].points[-12:]
        return sum(abs(math.log10(point["rate"] / 3e-4)) for point in late) / len(late)

    assert distance("tpe") < distance("sobol")


def test_a_dozen_points_cover_every_axis():
    points = looked(Tune(search="sobol", budget=12), lambda point: None).points
    quarters = [min(3, int(4 * math.log10(point["rate"] / 1e-4))) for point in points[1:]]
    assert min(quarters.count(q) for q in range(4)) >= 2
    assert {point["l2"] for point in points} == {0.0, 1e-5, 1e-3}


def test_quasi_random_search_repeats():
    how = Tune(search="sobol", budget=12)
    one, two = (looked(how, lambda point: None).points for _ in range(2))
    assert one == two
    assert len({canonical(point) for point in one}) == 12
    assert all(point["hidden"] == [8, 8] for point in one), "what is not in the grid is not searched"
    assert all(point["heads"] in (1, 2, 4) and point["l2"] in (0.0, 1e-5, 1e-3) for point in one)
    assert len({point["rate"] for point in one}) > 3, "between the bounds, not only on them"
    assert all(1e-4 <= point["rate"] <= 1e-3 and point["rate"] == float(f"{point['rate']:.3g}") for point in one)


def restarted(how, rates):
    """The rates of a search of six that is planned anew, from what is known, after every three."""
    declared, known = Tune(search=how, budget=6, round=3), {}
    while True:
        result = search(declared, {"r": rates}, {"r": rates[0]}, {}, dict, lambda p, _: known.get(canonical(p)))
        if result.best is not None:
            return [point["r"] for point in result.points]
        known.update({canonical(point): point["r"] for point in result.points})


@pytest.mark.parametrize("how", ["sobol", "tpe"])
def test_rounding_to_three_digits_stays_within_the_bounds(how):
    assert set(restarted(how, [0.0012341, 0.0012449])) == {0.0012341, 0.00124}, ".00123 is below"
    assert set(restarted(how, [0.0012351, 0.0012358])) == {0.0012351, 0.0012358}, ".00124 is above"


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-6, 10), st.floats(1e-5, 0.02), st.sampled_from(["sobol", "tpe"]))
def test_no_point_is_outside_of_what_a_narrow_grid_spans(low, width, how):
    high = low * (1 + width)
    assert all(low <= rate <= high for rate in restarted(how, [low, high]))


def test_what_the_suite_fixes_is_not_searched():
    points = looked(Tune(search="sobol", budget=12), lambda point: None, fixed=["rate", "norm"]).points
    assert {(point["rate"], point["norm"]) for point in points} == {(5e-4, False)}


@pytest.mark.parametrize("how", ["grid", "sobol", "tpe"])
def test_a_space_smaller_than_the_budget_is_tried_once_over(how):
    result = looked(Tune(search=how, budget=50, round=50), lambda point: 0.5, {"norm": [False, True], "heads": [1, 2]})
    assert sorted((p["norm"], p["heads"]) for p in result.points) == [(False, 1), (False, 2), (True, 1), (True, 2)]
    assert result.missing == 46
    assert looked(Tune(search=how, budget=3, round=1), lambda point: 0.5).missing == 0
    assert result.best == 0, "the first of equals"
    assert looked(Tune(search=how, budget=5), lambda point: 0.5, {}).points == (DECLARED,), "no grid"


@given(
    st.lists(st.one_of(st.none(), st.just(math.nan), st.floats(0, 1)), max_size=8), st.sampled_from(["auc", "logloss"])
)
def test_the_winner_is_the_first_best_of_all_that_succeeded(values, select):
    index = best_of(values, select)
    succeeded = [v for v in values if v is not None and not math.isnan(v)]
    if None in values or not succeeded:
        assert index is None
    else:
        best = max(succeeded) if select == "auc" else min(succeeded)
        assert index == values.index(best)


@settings(max_examples=10, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GRID)), st.just(None), min_size=1), st.integers(1, 6))
def test_asked_points_are_new_and_in_the_space(names, count):
    axes = {name: [*GRID[name], *([] if DECLARED[name] in GRID[name] else [DECLARED[name]])] for name in names}
    space = distributions(axes, ranges=True)
    known = [(DECLARED, 0.5)]
    asked = ask(Tune(search="tpe", budget=8), axes, known, count)
    assert asked == ask(Tune(search="tpe", budget=8), axes, known, count)
    keys = [canonical(point) for point in asked]
    assert len({canonical(DECLARED), *keys}) == len(keys) + 1
    for point in asked:
        assert all(space[name]._contains(space[name].to_internal_repr(point[name])) for name in names)
        assert point == DECLARED | {name: point[name] for name in names}


@pytest.fixture
def searched(suite_file, tmp_path):
    """A plan of two searching cells with finished trials, and its store."""
    store = Store(tmp_path / "results")
    store.prepare()
    declared = suite.load(str(suite_file(methods="[dcnv2, afm]", tune="{budget: 3}")))
    planned = plan.expand(declared, {"planted-tiny": "a" * 64}, store.trial_metric)
    for cell in planned.cells:
        for index, trial in enumerate(cell.trials):
            store.work(trial)
            best = {"best": {"epoch": 0, "auc": 0.6 + index / 100, "logloss": 0.7}}
            store.commit(trial, {"metrics.json": best, "env.json": {"seconds": 1.0}})
    return planned, store


def trials_in(store):
    """Every study of the journal by its name: the trials' stage keys and figures."""
    storage = JournalStorage(JournalFileBackend(str(store.root / "studies" / "mini.journal")))
    names = [study.study_name for study in storage.get_all_studies()]
    studies = {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    return {name: [(t.user_attrs["key"], t.value) for t in study.trials] for name, study in studies.items()}


def test_a_study_holds_each_finished_trial_once(searched):
    planned, store = searched
    for cells in (planned.cells[:1], planned.cells, planned.cells):  # every command has its own view of the file
        studies = Studies(store, planned.suite, planned.suite.tune)
        studies.record(cells)
        studies.record(cells)
    recorded = trials_in(store)
    assert [name.rsplit("/", 1)[0] for name in recorded] == ["planted-tiny/dcnv2/held-out", "planted-tiny/afm/held-out"]
    for cell, trials in zip(planned.cells, recorded.values(), strict=True):
        assert trials == [(t.key, 0.6 + i / 100) for i, t in enumerate(cell.trials)]
    search = planned.cells[0].search
    best = Studies(store, planned.suite, planned.suite.tune).study(planned.cells[0]).best_trial
    assert best.params == {name: search.points[2][name] for name in search.axes}


@pytest.mark.parametrize(
    "damage", [None, lambda text: text[:-7], lambda text: text[:40] + b"\0{" + text[42:], lambda _: b"x\n"]
)
def test_damaged_journal_is_rewritten(searched, damage):
    planned, store = searched
    Studies(store, planned.suite, planned.suite.tune).record(planned.cells)
    whole, path = trials_in(store), store.root / "studies" / "mini.journal"
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    Studies(store, planned.suite, planned.suite.tune).record(planned.cells)
    assert trials_in(store) == whole
