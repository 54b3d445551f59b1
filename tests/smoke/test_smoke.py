"""The smoke suite: every method there is, from the command line to the table."""

import json
import os
import subprocess
import sys

from flipbench.plan import registry, suite


def test_every_method_runs_and_is_reported(tmp_path):
    found = suite.load("smoke")
    assert {m.method for m in found.methods} == set(registry.names()), "smoke runs every method there is"
    options = ["--results", str(tmp_path / "results")]
    for command in (["run", "smoke", *options], ["report", "smoke", *options, "--reports", str(tmp_path), "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "flipbench", *command], capture_output=True, text=True, timeout=600, env=os.environ
        )
        assert done.returncode == 0, done.stderr
    cells = [c for c in json.loads(done.stdout)["cells"] if c["metric"] == "auc"]
    assert {(c["method"], c["status"]) for c in cells} == {(name, "complete") for name in registry.names()}
    assert {c["method"]: c["value"] for c in cells}["dcnv2"] > 0.6, "two epochs beat chance by far"
    assert (tmp_path / "smoke.tex").read_text().startswith("%")
