"""A hybrid of one's own, with a pretraining of its own, is one file outside the package and two entry points."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY_POINTS = """\
[flipbench.hybrid_methods]
match_sum = own_hybrid:MatchSum

[flipbench.pretrainings]
match = own_hybrid:Match
"""


@pytest.fixture
def package(tmp_path):
    """A folder as an installer leaves it: the module and its entry points."""
    info = tmp_path / "site" / "own_hybrid-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-hybrid\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    shutil.copy(Path(__file__).with_name("own_hybrid.py"), tmp_path / "site")
    return tmp_path / "site"


def flipbench(package, *arguments):
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "flipbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=240)


def test_own_hybrid_runs_beside_a_baseline(package, suite_file, tmp_path):
    path = suite_file(
        methods="[dcnv2, match_sum, cold: {method: match_sum, pretrain: {epochs: 2, margin: 0.5}}]",
        data="[planted-tiny: {users: 0.3}]",
        settings="{max_epochs: 1, batch_size: 128}",
    )
    ran = flipbench(package, "run", path)
    assert ran.returncode == 0, ran.stderr
    pretrained = [json.loads(p.read_text()) for p in (tmp_path / "results").glob("planted-tiny/match/*/metrics.json")]
    assert sorted(len(run["history"]) for run in pretrained) == [1, 2]
    assert all(run["best"]["match"] > 0 for run in pretrained)
    shown = flipbench(package, "explain", path, "cold", "planted-tiny@30%-of-users", "--json")
    assert shown.returncode == 0, shown.stderr
    record = json.loads(shown.stdout)
    assert {s["name"]: s["value"] for s in record["settings"]}["pretrain.margin"] == 0.5
    assert 0 < record["runs"][0]["auc"] < 1
    wrong = flipbench(package, "plan", suite_file(methods="[match_sum: {pretrain: {margin: 2}}]"))
    assert wrong.returncode == 1
    assert "pretrain.margin: 2.0 is not between 0 and 1" in wrong.stderr
