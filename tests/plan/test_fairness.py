"""The rows of every shipped suite share what no method should win by, or the suite says why not."""

import pytest

from flipbench.data import dataset
from flipbench.plan import expand, registry, suite
from flipbench.plan.settings import PLM_RATE_GRID, RATE_GRID
from flipbench.report.fairness import SEARCHED, unequal

PRINTS = {name: f"{i:x}" * 64 for i, name in enumerate(dataset.names())}
NAMES = [path.stem for path in suite.available()]


def differences(name_or_suite):
    """By setting, over the suite's data sets."""
    declared = suite.load(name_or_suite) if isinstance(name_or_suite, str) else name_or_suite
    plan = expand.expand(declared, PRINTS, lambda *_: None)
    found = {}
    for label in {cell.data.label for cell in plan.cells}:
        found |= unequal(cell for cell in plan.cells if cell.data.label == label)
    return declared, found


@pytest.mark.parametrize("name", NAMES)
def test_rows_share_or_the_suite_says_why(name):
    declared, found = differences(name)
    assert found.keys() == declared.unequal.keys()


def test_an_unequal_row_is_found():
    mine = suite.Suite.model_validate(
        {
            "suite": "mine",
            "title": "Mine",
            "data": ["planted-tiny"],
            "methods": ["deepfm", {"dcnv2": {"embedding_l2": 0.0}}, {"afm": {"max_epochs": 3}}],
        }
    )
    assert differences(mine)[1] == {
        "embedding_l2": {"0.001": ("deepfm", "afm"), "0.0": ("dcnv2",)},
        "max_epochs": {"30": ("deepfm", "dcnv2"), "3": ("afm",)},
    }


def test_searched_by_some_is_unequal():
    tuned = suite.Suite.model_validate(
        {
            "suite": "mine",
            "title": "Mine",
            "data": ["planted-tiny"],
            "tune": {"budget": 2},
            "methods": ["deepfm", {"dcnv2": {"embedding_l2": 1e-4}}],
        }
    )
    searched = f"{SEARCHED} 0.0, 1e-05, 0.0001, 0.0003, 0.001, 0.005, 0.01, 0.05"
    assert differences(tuned)[1] == {"embedding_l2": {searched: ("deepfm",), "0.0001": ("dcnv2",)}}


def test_learning_rates_are_searched_over_one_range():
    """Of ID-based models, alone or beside a PLM, and of PLMs; P5's schedule and optimizer are its own."""
    found = {"of ID-based models": set(), "of PLMs": set()}
    for name in registry.names():
        declared = registry.get(name)
        rates = {n: tuple(declared.grid[n]) for n in ("learning_rate", "plm_learning_rate") if n in declared.grid}
        has_id_model = declared.kind == "id" or "backbone" in declared.settings
        if name != "p5" and "learning_rate" in rates:
            found["of ID-based models" if has_id_model else "of PLMs"].add(rates["learning_rate"])
        if "plm_learning_rate" in rates:
            found["of PLMs"].add(rates["plm_learning_rate"])
    assert found == {"of ID-based models": {tuple(RATE_GRID)}, "of PLMs": {tuple(PLM_RATE_GRID)}}
