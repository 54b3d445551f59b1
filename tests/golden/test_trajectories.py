"""Keys, and the first steps of every training, are what they were when ``trajectories.json`` was recorded."""

import json

import pytest
import trajectories

RECORDED = json.loads(trajectories.FILE.read_text())


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    return trajectories.trajectories(tmp_path_factory.mktemp("golden"))


def test_suite_keys(tmp_path):
    assert trajectories.suite_keys(tmp_path) == RECORDED["suites"]


def test_stage_keys(again):
    assert {name: one["key"] for name, one in again.items()} == {n: o["key"] for n, o in RECORDED["stages"].items()}


@pytest.mark.parametrize("name", RECORDED["stages"])
def test_first_steps(again, name):
    for what in ("losses", "norms"):
        assert again[name][what] == pytest.approx(RECORDED["stages"][name][what], rel=1e-5, abs=1e-6), what
    assert again[name]["figures"] == pytest.approx(RECORDED["stages"][name]["figures"], abs=2e-3)
