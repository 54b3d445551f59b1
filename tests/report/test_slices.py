"""AUC by how often training shows an item."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from flipbench.cli import main
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.report.slices import slices
from flipbench.store.predictions import read_predictions


@pytest.fixture
def two_rows(stored):
    return stored({"deepfm": 1.6, "dcnv2": 0.8}, data="[planted-tiny]", seeds="3", compare="{reference: dcnv2}")


def test_rows_auc_and_differences(two_rows):
    plan, store = two_rows
    table = open_table("planted-tiny")
    shown = np.bincount(split.training_rows(table, "chronological").ids[:, 5], minlength=table.num_features)
    times = shown[split.test_ids(table, "chronological")[:, 5]]
    found = {(one.method, one.items): one for one in slices(plan, store, "dcnv2")}
    assert found["deepfm", "never"].rows == table.meta["test_rows_of_cold_items"] == (times == 0).sum()
    assert found["deepfm", "1 to 5"].rows == ((times > 0) & (times <= 5)).sum()
    parts = [found["deepfm", items].rows for items in ("never", "1 to 5", "more")]
    assert sum(parts) == found["deepfm", "all"].rows == 400

    cell = next(cell for cell in plan.cells if cell.method.label == "deepfm")
    runs = [read_predictions(store.folder(stage) / "predictions.parquet") for stage in cell.evaluations]
    never = times == 0
    wanted = np.mean([roc_auc_score(run.labels[never], run.logits[never]) for run in runs])
    assert found["deepfm", "never"].auc == pytest.approx(wanted)
    gap = found["deepfm", "all"].difference
    assert gap.low < gap.value < gap.high
    assert gap.low > 0, "the sharper row is better, beyond luck"
    assert found["dcnv2", "all"].difference is None


def test_the_verb(two_rows, tmp_path, capsys):
    path = tmp_path / "mini.yaml"
    assert main(["slices", str(path)]) == 0
    assert "deepfm" in capsys.readouterr().out
    assert main(["slices", str(path), "--json", "--reference", "deepfm"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["method"] for row in rows if row["difference"]} == {"dcnv2"}
    assert main(["slices", str(path), "--reference", "afm"]) == 1
    assert "'afm' has no finished run on planted-tiny" in capsys.readouterr().err
