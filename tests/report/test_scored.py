"""Scores are kept between processes, by the predictions' own digest, and never in place of a verification."""

import hashlib
import json
import shutil

import pytest
from pandas.testing import assert_frame_equal

from flipbench import api
from flipbench.errors import DamagedError
from flipbench.report import scored


@pytest.fixture
def suite(suite_file, stored_runs, tmp_path, monkeypatch):
    loaded = api.load_suite(suite_file(methods="[dcnv2, constant]", seeds="2"))
    planned = api.plan(loaded)
    stored_runs(planned, api.store_of(loaded), {"dcnv2": 1.0, "constant": 0.5})
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return loaded


@pytest.fixture
def another_process(monkeypatch):
    """Forgets what this process has computed; returns how often predictions are scored from then on."""
    calls = []

    def forget():
        scored.scores_of.cache_clear()
        calls.clear()
        return calls

    read = scored.read_predictions
    monkeypatch.setattr(scored, "read_predictions", lambda *args: (calls.append(args), read(*args))[1])
    yield forget
    scored.scores_of.cache_clear()


def test_predictions_are_scored_once(suite, another_process, tmp_path):
    calls = another_process()
    first = api.results(suite)
    assert len(calls) == len(first) == 4
    calls = another_process()
    assert_frame_equal(api.results(suite), first, check_exact=True)
    assert calls == []
    copied = shutil.copytree(suite.outputs.results, tmp_path / "elsewhere")
    assert api.results(copied).auc.tolist() == pytest.approx(first.auc.tolist(), abs=0)
    assert calls == [], "wherever they lie"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"auc": 1.0}', None])
def test_what_is_damaged_is_scored_again(suite, another_process, tmp_path, content):
    first = api.results(suite)
    for kept in (tmp_path / "home" / "scores").iterdir():
        kept.write_text(kept.read_text().replace('"rows": ', '"rows": "1" , "x": ') if content is None else content)
    calls = another_process()
    assert_frame_equal(api.results(suite), first, check_exact=True)
    assert len(calls) == 4


def test_a_home_that_cannot_be_written_costs_nothing_but_time(suite, another_process, tmp_path):
    (tmp_path / "home").write_text("a file")
    assert len(api.results(suite)) == 4


def test_changed_predictions_are_still_refused(suite, another_process):
    api.results(suite)
    store, stage = api.store_of(suite), api.plan(suite).cells[0].evaluations[0]
    path = store.folder(stage) / "predictions.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DamagedError, match=r"predictions\.parquet: changed since the run was finished"):
        api.results(suite)


def test_a_verification_scores_everything_anew(suite, another_process, tmp_path):
    """Also where what was kept agrees with a forged record."""
    api.report(suite, figures=False)
    calls = another_process()
    assert api.verify(suite).mismatches == ()
    assert len(calls) == 4
    for kept in (tmp_path / "home" / "scores").iterdir():
        kept.write_text(json.dumps({**json.loads(kept.read_text()), "auc": 0.99}))
    store, stage = api.store_of(suite), api.plan(suite).cells[0].evaluations[0]
    figures = store.folder(stage) / "metrics.json"
    forged = json.dumps({**json.loads(figures.read_text()), "auc": 0.99})
    manifest = store.folder(stage) / "DONE"
    before = hashlib.sha256(figures.read_bytes()).hexdigest()
    figures.write_text(forged)
    manifest.write_text(manifest.read_text().replace(before, hashlib.sha256(forged.encode()).hexdigest()))
    another_process()
    found = [m for m in api.verify(suite).mismatches if "auc is 0.99 in metrics.json" in m.what]
    assert len(found) == 1
