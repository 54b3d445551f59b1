import pytest

from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import registry, suite
from flipbench.plan import search as tune
from flipbench.plan.stage import DataCondition, evaluation_stage
from flipbench.store.runs import Store

PRINTS = {"planted-tiny": "a" * 64, "planted-small": "b" * 64}


def expand(path, chosen=lambda *_: None):
    return plan.expand(suite.load(str(path)), PRINTS, chosen)


def keys(path):
    return [stage.key for stage in expand(path).stages()]


def test_held_out_selects_refits_and_scores_once(suite_file):
    found = expand(suite_file(seeds="2"))
    assert [str(s) for s in found.stages()] == [
        f"{role} planted-tiny dcnv2 s{seed}" for seed in (0, 1) for role in ("select", "refit", "evaluate")
    ]
    released = expand(suite_file(protocol="as-released"))
    assert [s.role for s in released.stages()] == ["fit", "evaluate"]


def test_key_order_and_spelling_of_numbers_do_not_change_a_key(suite_file):
    one = keys(suite_file(settings="{learning_rate: 1e-3, dropout: 0, max_epochs: 1}"))
    two = keys(suite_file(settings="{max_epochs: 1, dropout: 0.0, learning_rate: 0.001}"))
    declared = keys(suite_file(settings="{max_epochs: 1}"))
    assert one == two == declared, "a default spelled out is still the default"


def test_anagrams_change_a_key(suite_file):
    one = keys(suite_file(settings="{hidden: [12, 3], dropout: 0.1}"))
    two = keys(suite_file(settings="{hidden: [1, 23], dropout: 0.1}"))
    three = keys(suite_file(settings="{hidden: [13, 2], dropout: 0.1}"))
    assert len({*one, *two, *three}) == 9


@pytest.mark.parametrize(
    "change",
    [
        {"settings": "{learning_rate: 2e-3}"},
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
    stage = evaluation_stage(
        DataCondition("held-out", "planted-tiny", "f" * 64, "chronological"), declared, {"a": 1.0}, 0
    )
    assert stage.spec == {
        "engine": 1,
        "dataset": "planted-tiny",
        "data": "f" * 64,
        "order": "chronological",
        "protocol": "held-out",
        "method": "toy",
        "version": 1,
        "settings": {"a": 1.0},
        "seed": 0,
        "role": "evaluate",
        "parents": {"fit": stage.parents["fit"].key},
    }
    assert stage.key == "195eb4edd7a75c36cecc35415f6ccfb51ffd2542b2580d19b1146307518b4631"


def test_float32_is_left_out_of_a_key_and_bfloat16_is_in_it(suite_file):
    plain = keys(suite_file(settings="{}"))
    assert keys(suite_file(settings="{precision: float32}")) == plain
    assert not set(keys(suite_file(settings="{precision: bfloat16}"))) & set(plain)


def test_only_narrows_and_names_what_it_does_not_know(suite_file):
    found = suite.load(str(suite_file(methods="[[afm, pnn, dcnv2]]", data="[planted-tiny, planted-small]")))
    cut = plan.narrow(found, ["dataset=planted-tiny", "model=dcnv2,afm", "kind=id"])
    assert [d.name for d in cut.data] == ["planted-tiny"]
    assert [m.label for m in cut.methods] == ["afm", "dcnv2"]
    for choice, words in [
        ("model=afn", "the suite has no 'afn'"),
        ("dataset=tiny", "the suite has no 'tiny'; did you mean 'planted-tiny'"),
        ("kind=plmm", "the suite has no 'plmm'; did you mean 'plm'"),
        ("kind=plm", "leaves nothing of the suite"),
        ("modle=afm", "unknown key 'modle'; did you mean 'model'"),
        ("model", r"expected KEY=VALUE"),
    ]:
        with pytest.raises(UserError, match=words):
            plan.narrow(found, [choice])


def test_a_parent_without_its_weights_runs_again_only_for_a_child_that_needs_them(suite_file, tmp_path):
    found, store = expand(suite_file()), Store(tmp_path / "r")
    store.prepare()
    select, refit, evaluate = found.stages()
    for stage in (select, refit):
        store.work(stage)
        store.commit(stage, {"metrics.json": {}})
    assert found.needed(store) == [refit, evaluate], "refit is done, but evaluate reads its weights"
    store.work(evaluate)
    store.commit(evaluate, {"metrics.json": {}})
    assert found.needed(store) == [], "a clone without weights has nothing to do"


def test_a_search_tries_each_point_once_within_its_budget():
    grid = {"a": [1, 2, 3], "b": [0.1, 0.2], "fixed": [1, 2]}
    settings = {"a": 2, "b": 0.1, "fixed": 7}
    whole = tune.points(grid, settings, {"fixed": 7}, budget=100)
    assert whole[0] == settings
    assert len(whole) == 6
    assert len({tuple(p.items()) for p in whole}) == 6
    assert all(p["fixed"] == 7 for p in whole)
    few = tune.points(grid, settings, {}, budget=4)
    assert len(few) == 4
    assert few[0] == settings
    assert few == tune.points(grid, settings, {}, budget=4)
    assert tune.points(grid, settings, {}, budget=1) == [settings]


def test_a_search_decides_the_seeds_runs_once_its_trials_are_done(suite_file):
    path = suite_file(tune="{budget: 3}", seeds="2")
    pending = expand(path)
    (cell,) = pending.cells
    assert len(cell.trials) == 3
    assert cell.evaluations == ()
    assert pending.choosing
    assert {s.role for s in pending.stages()} == {"select"}, "a trial never reads the test rows"
    (decided,) = expand(path, lambda stage, metric: float(stage.key == cell.trials[2].key)).cells
    assert {**cell.trials[2].spec["settings"], "precision": "float32"} == decided.settings
    assert decided.evaluations[0].parents["fit"].parents["select"].key == cell.trials[2].key, (
        "the trial is seed 0's selection"
    )


def test_the_winner_is_the_best_finished_trial(suite_file, tmp_path):
    store = Store(tmp_path / "r")
    store.prepare()
    path = suite_file(tune="{budget: 3}")
    (cell,) = expand(path).cells

    def chosen(select="auc"):
        (found,) = expand(suite_file(tune=f"{{budget: 3, select: {select}}}"), store.trial_metric).cells
        return found.search.best

    for trial, auc, logloss in zip(cell.trials, (0.7, 0.8, 0.75), (0.5, 0.6, 0.4), strict=True):
        assert chosen() is None
        store.work(trial)
        store.commit(trial, {"metrics.json": {"best": {"auc": auc, "logloss": logloss}}})
    assert chosen() == 1
    assert chosen("logloss") == 2
