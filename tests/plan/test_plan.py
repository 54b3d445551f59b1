"""From a suite to stages and their keys."""

from dataclasses import replace

import pytest

from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import registry, suite
from flipbench.plan.search import points
from flipbench.plan.stage import DataCondition, evaluation_stage
from flipbench.store.runs import Store

PRINTS = {"planted-tiny": "a" * 64, "planted-small": "b" * 64}


def expand(path, chosen=lambda *_: None):
    return plan.expand(suite.load(str(path)), PRINTS, chosen)


def keys(path):
    return [stage.key for stage in expand(path).stages()]


def test_held_out_selects_refits_and_scores_once(suite_file):
    assert [str(stage) for stage in expand(suite_file(seeds="2")).stages()] == [
        f"{role} planted-tiny dcnv2 s{seed}" for seed in (0, 1) for role in ("select", "refit", "evaluate")
    ]
    released = expand(suite_file(protocol="as-released")).stages()
    assert [stage.role for stage in released] == ["fit", "evaluate"]


def test_key_order_and_spelling_of_numbers_do_not_change_a_key(suite_file):
    spelled = ["learning_rate: 1e-3, dropout: 0, max_epochs: 1", "max_epochs: 1, dropout: 0.0, learning_rate: 0.001"]
    one, two, declared = (keys(suite_file(settings=f"{{{each}}}")) for each in [*spelled, "max_epochs: 1"])
    assert one == two == declared, "a default spelled out is still the default"


def test_nested_and_dotted_settings_are_the_same(suite_file):
    spelled = ("{pretrain: {epochs: 2}}", "{pretrain.epochs: 2}", "{}")
    nested, dotted, declared = (
        keys(suite_file(methods=f"[flip: {each}]", settings="{plm: small}")) for each in spelled
    )
    assert nested == dotted != declared


def test_anagrams_change_a_key(suite_file):
    settings = (f"{{hidden: {widths}, dropout: 0.1}}" for widths in ("[12, 3]", "[1, 23]", "[13, 2]"))
    assert len({key for each in settings for key in keys(suite_file(settings=each))}) == 9


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "{learning_rate: 2e-3}"},
        {"settings": "{precision: bfloat16}"},
        {"protocol": "as-released"},
        {"data": "[planted-tiny: {order: random}]"},
        {"data": "[planted-small]"},
        {"methods": "[deepfm]"},
    ],
)
def test_what_determines_a_result_changes_every_key(suite_file, change):
    assert not set(keys(suite_file(settings=""))) & set(keys(suite_file(**({"settings": ""} | change))))


def test_what_does_not_determine_a_result_changes_no_key(suite_file):
    plain = keys(suite_file())
    assert keys(suite_file(title="Another", compare="{alpha: 0.05}", outputs="{results: elsewhere}")) == plain
    assert keys(suite_file(methods="[row: {method: dcnv2}]")) == plain, "a row's name is for readers"
    assert set(plain) < set(keys(suite_file(seeds="3"))), "more seeds extend, and change nothing"


def test_a_known_key_never_moves():
    """Committed results are found by key: a change here orphans them all."""
    declared = registry.Declaration("toy", "id", "x:Y", "", 1, {"a": registry.Setting(1.0, "guess", "")}, {})
    condition = DataCondition("held-out", "planted-tiny", "f" * 64, "chronological")
    stage = evaluation_stage(condition, declared, {"a": 1.0}, 0)
    data = {"dataset": "planted-tiny", "data": "f" * 64, "order": "chronological", "protocol": "held-out"}
    method = {"engine": 1, "method": "toy", "version": 1, "settings": {"a": 1.0}, "seed": 0}
    assert stage.spec == {**data, **method, "role": "evaluate", "parents": {"fit": stage.parents["fit"].key}}
    assert stage.key == "195eb4edd7a75c36cecc35415f6ccfb51ffd2542b2580d19b1146307518b4631"


def test_float32_is_left_out_of_a_key(suite_file):
    assert keys(suite_file(settings="{precision: float32}")) == keys(suite_file(settings="{}"))


def test_only_keeps_the_named_rows_and_columns(suite_file):
    whole = suite.load(str(suite_file(methods="[[afm, pnn, dcnv2]]", data="[planted-tiny, planted-small]")))
    part = plan.narrow(whole, ["dataset=planted-tiny", "model=dcnv2,afm", "kind=id"])
    assert [entry.name for entry in part.data] == ["planted-tiny"]
    assert [entry.label for entry in part.methods] == ["afm", "dcnv2"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("model=afn", "the suite has no 'afn'"),
        ("dataset=tiny", "the suite has no 'tiny'; did you mean 'planted-tiny'"),
        ("kind=plmm", "the suite has no 'plmm'; did you mean 'plm'"),
        ("kind=plm", "leaves nothing of the suite"),
        ("modle=afm", "unknown key 'modle'; did you mean 'model'"),
        ("model", "expected KEY=VALUE"),
    ],
)
def test_only_names_what_it_does_not_know(suite_file, choice, words):
    with pytest.raises(UserError, match=words):
        plan.narrow(suite.load(str(suite_file(methods="[[afm, pnn]]"))), [choice])


def finish(store, *stages, **metrics):
    for stage in stages:
        store.work(stage)
        store.commit(stage, {"metrics.json": metrics})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    store.prepare()
    return store


def test_lost_weights_are_rebuilt_when_read(suite_file, store):
    planned = expand(suite_file())
    select, refit, evaluate = planned.stages()
    finish(store, select, refit)
    assert planned.needed(store) == [refit, evaluate], "refit is done, but evaluate reads its weights"
    finish(store, evaluate)
    assert planned.needed(store) == [], "a clone without weights has nothing to do"


def test_a_grid_search_tries_each_point_once_within_its_budget():
    grid = {"a": [1, 2, 3], "b": [0.1, 0.2], "fixed": [1, 2]}
    settings = {"a": 2, "b": 0.1, "fixed": 7}
    whole = points(grid, settings, {"fixed": 7}, budget=100)
    assert whole[0] == settings
    assert len(whole) == len({tuple(point.items()) for point in whole}) == 6
    assert all(point["fixed"] == 7 for point in whole)
    few = points(grid, settings, {}, budget=4)
    assert (len(few), few[0]) == (4, settings)
    assert few == points(grid, settings, {}, budget=4)
    assert points(grid, settings, {}, budget=1) == [settings]


@pytest.mark.parametrize("how", ["grid", "sobol", "tpe"])
def test_values_of_a_grid_have_the_type_of_their_setting_before_they_are_compared(suite_file, monkeypatch, how):
    path = suite_file(methods="[dcnv2]", tune=f"{{search: {how}, budget: 9}}", settings="{embedding_l2: 1}")
    declare(monkeypatch, {"dropout": [0, 0.0, 0.5]})  # the declared dropout is 0.0
    (cell,) = expand(path).cells
    values = [point["dropout"] for point in cell.search.points]
    assert all(type(value) is float for value in values)
    assert len(set(values)) == len(values)
    assert cell.search.axes["dropout"] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("grid", "message"),
    [({"dropout": ["half"]}, "grid: dropout: expected a number"), ({"dropuot": [0.1]}, "unknown setting 'dropuot'")],
)
def test_a_grid_that_its_settings_cannot_have_is_refused(suite_file, monkeypatch, grid, message):
    declare(monkeypatch, grid)
    with pytest.raises(UserError, match=message):
        expand(suite_file(methods="[dcnv2]", tune="{budget: 9}"))


def declare(monkeypatch, grid):
    """Another grid for dcnv2."""
    real = registry.get
    monkeypatch.setattr(registry, "get", lambda name: replace(real(name), grid=grid) if name == "dcnv2" else real(name))


def test_a_search_decides_the_runs_once_its_trials_are_done(suite_file):
    path = suite_file(tune="{budget: 3}", seeds="2")
    pending = expand(path)
    (cell,) = pending.cells
    assert (len(cell.trials), cell.evaluations) == (3, ())
    assert pending.choosing
    assert {stage.role for stage in pending.stages()} == {"select"}, "a trial never reads the test rows"
    (decided,) = expand(path, lambda stage, metric: float(stage.key == cell.trials[2].key)).cells
    assert {**cell.trials[2].spec["settings"], "precision": "float32", "oov": "random"} == decided.settings
    selection = decided.evaluations[0].parents["fit"].parents["select"]
    assert selection.key == cell.trials[2].key, "the trial is seed 0's selection"


def test_the_winner_is_the_best_finished_trial(suite_file, store):
    (cell,) = expand(suite_file(tune="{budget: 3}")).cells

    def winner(select="auc"):
        (decided,) = expand(suite_file(tune=f"{{budget: 3, select: {select}}}"), store.trial_metric).cells
        return decided.search.best

    for trial, auc, logloss in zip(cell.trials, (0.7, 0.8, 0.75), (0.5, 0.6, 0.4), strict=True):
        assert winner() is None
        finish(store, trial, best={"epoch": 0, "auc": auc, "logloss": logloss})
    assert winner() == 1
    assert winner("logloss") == 2
