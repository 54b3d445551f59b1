"""What must not become a number, end to end: ``flipbench report`` names it, or prints a cell without one."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from forged import rewrite, with_column

from flipbench import api
from flipbench.errors import UserError
from flipbench.metrics import auc, logloss
from flipbench.plan import suite
from flipbench.store.planning import plan_of, store_of

STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9}


@pytest.fixture
def stored(suite_file, stored_runs):
    """A suite of two rows and its finished runs; returns its file, plan and store."""

    def make(**changes):
        options = {"data": "[movielens-1m]", "methods": "[deepfm, dcnv2]", "settings": "", "seeds": "2", **changes}
        path = suite_file(**{"compare": "{reference: dcnv2}", **options})
        mini = suite.load(str(path))
        plan = plan_of(mini, store := store_of(mini))
        stored_runs(plan, store, STRENGTH)
        return path, plan, store

    return make


@pytest.fixture
def report(cli, tmp_path):
    """Calls the command; returns its standard output and the cells of the JSON it wrote."""

    def call(path):
        code, out, err = cli("report", path, "--no-figures")
        assert code == 0, err
        cells = json.loads((tmp_path / "reports" / "mini.json").read_text())["cells"]
        return out, {(c["method"], c["metric"]): c for c in cells}

    return call


@pytest.fixture
def unwritten(refused, tmp_path):
    """Calls the command, which refuses to write a report; returns the line that says why."""

    def call(path):
        err = refused("report", path, "--no-figures")
        assert not list(tmp_path.glob("reports/*"))
        return err

    return call


@pytest.mark.parametrize("seeds", ["1", "2"])
@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("logit", np.full(400, np.nan, np.float32), "400 of 400 predictions are NaN or infinite"),
        ("logit", np.zeros(400, np.float32), "every prediction is 0: the model distinguishes no rows"),
        ("label", np.ones(400, bool), "all 400 labels are equal"),
        ("label", np.arange(400) % 2 == 0, "from its predictions"),
        ("group", np.arange(400, dtype=np.int32), "its test rows are not those of"),
    ],
)
def test_predictions_that_are_none_are_named(stored, unwritten, column, values, says, seeds):
    path, plan, store = stored(seeds=seeds)
    with_column(store, plan.cells[-1].evaluations[-1], column, values)
    err = unwritten(path)
    assert says in err
    assert "evaluate-s" in err


@pytest.mark.parametrize("seeds", ["1", "2"])
def test_a_mutated_prediction_file_is_named(stored, unwritten, seeds):
    path, plan, store = stored(seeds=seeds)
    file = store.folder(plan.cells[0].evaluations[-1]) / "predictions.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert unwritten(path).startswith(f"flipbench: {file}: changed since the run was finished")


@pytest.mark.parametrize(
    ("auc", "says"),
    [
        (0.5, "auc is 0.5 in metrics.json, 0."),
        (0.99, "auc is 0.99 in metrics.json, 0."),
        (True, "auc is true, no number"),
        ("0.8", 'auc is "0.8", no number'),
        (None, "auc is null, no number"),
        ([0.8], "auc is [0.8], no number"),
        (float("nan"), "auc is NaN, no number"),
    ],
)
def test_figures_that_are_none_are_named(stored, unwritten, auc, says):
    path, plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    content = json.dumps({**store.metrics(stage), "auc": auc}).encode()
    rewrite(store, stage, "metrics.json", content)
    err = unwritten(path)
    assert says in err
    assert str(store.folder(stage)) in err


FORGED = [("gap", "SUITE"), ("explain", "SUITE", "deepfm", "movielens-1m"), ("verify", "SUITE"), ("report", "SUITE")]


@pytest.mark.parametrize("words", FORGED, ids=[words[0] for words in FORGED])
def test_a_forged_figure_is_printed_by_no_verb(stored, cli, words):
    path, plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    rewrite(store, stage, "metrics.json", json.dumps({**store.metrics(stage), "auc": 0.99}).encode())
    code, out, err = cli(*(str(path) if word == "SUITE" else word for word in words))
    assert code == (3 if words[0] == "verify" else 1)
    assert "0.99" not in out
    assert "auc is 0.99 in metrics.json, 0." in err


def test_a_forged_figure_is_in_no_frame(stored):
    path, plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    rewrite(store, stage, "metrics.json", json.dumps({**store.metrics(stage), "auc": 0.99}).encode())
    for asked in (api.load_suite(path), store.root):
        with pytest.raises(UserError, match=r"auc is 0\.99 in metrics\.json, 0\."):
            api.results(asked)


@pytest.mark.parametrize("forged", [True, "0.8"])
def test_verbs_that_do_not_recompute_say_so_and_print_numbers_only(stored, cli, refused, forged):
    path, plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    show = ("show", stage.key, "--results", store.root)
    for call in (("status", path), show, ("show", stage.key, "--json", "--results", store.root)):
        code, _, err = cli(*call)
        assert (code, err.count("\n")) == (0, 1)
        assert "as the runs recorded them, not recomputed from predictions" in err
    rewrite(store, stage, "metrics.json", json.dumps({**store.metrics(stage), "auc": forged}).encode())
    for call in (("status", path), show):
        assert f"auc is {json.dumps(forged)}, no number" in refused(*call)


def test_an_auc_of_one_half_is_a_figure(stored, report):
    path, plan, store = stored()
    stage = plan.cells[0].evaluations[0]
    labels = pq.read_table(store.folder(stage) / "predictions.parquet")["label"].to_numpy()
    logits = np.empty(400, np.float32)
    for wanted in (labels, ~labels):  # symmetric within each class
        logits[wanted] = np.linspace(-1, 1, int(wanted.sum()))
    with_column(store, stage, "logit", logits)
    figures = {"auc": 0.5, "logloss": logloss(labels, logits)}
    rewrite(store, stage, "metrics.json", json.dumps({**store.metrics(stage), **figures}).encode())
    assert auc(labels, logits) == 0.5
    _, cells = report(path)
    assert cells["deepfm", "auc"]["value"] is not None


def test_two_rows_that_are_one_are_left_untested(stored, report):
    path, plan, store = stored(compare="{reference: dcnv2, test: paired-t}", methods="[deepfm, dcnv2, pnn]")
    for one, same in zip(plan.cells[0].evaluations, plan.cells[1].evaluations, strict=True):
        for name in ("predictions.parquet", "metrics.json"):
            rewrite(store, same, name, (store.folder(one) / name).read_bytes())
    out, cells = report(path)
    assert cells["deepfm", "auc"]["value"] == cells["dcnv2", "auc"]["value"]
    assert "Not tested against each other, because paired-t has no value there" in " ".join(out.split())


def test_missing_run_leaves_no_number(stored, report):
    path, plan, store = stored()
    shutil.rmtree(store.folder(plan.cells[0].evaluations[0]))
    out, cells = report(path)
    for metric in ("auc", "logloss", "rel_impr"):
        assert cells["deepfm", metric]["value"] is None
    assert cells["deepfm", "auc"]["text"] == "1/2 runs"
    assert "1/2 runs" in out
    assert "significantly" not in out


def test_run_in_a_wrong_place_is_named(stored, unwritten):
    _, other, store = stored(protocol="as-released")
    path, plan, _ = stored()
    ours, theirs = (store.folder(p.cells[0].evaluations[0]) for p in (plan, other))
    shutil.rmtree(ours)
    shutil.copytree(theirs, ours)
    assert "protocol is 'as-released', not 'held-out'" in unwritten(path)


def test_other_protocol_changes_nothing(stored, report):
    path, _, _ = stored()
    before = report(path)
    stored(protocol="as-released")
    path, _, _ = stored()
    assert report(path) == before


def test_one_seed_has_no_spread_no_star_and_no_verdict(stored, report):
    path, _, _ = stored(seeds="1", paper="table2")
    out, cells = report(path)
    assert cells["dcnv2", "auc"]["value"] is not None
    said = "One seed: no spread known, no star of ours, and every verdict against the paper is inconclusive"
    assert said in " ".join(out.split())
