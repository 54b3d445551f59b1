"""The suites that come with flipbench: each can be planned, and cells that need the same pretraining share it."""

import pytest

from flipbench.data import dataset
from flipbench.paper.values import paper_methods
from flipbench.plan import expand as plan
from flipbench.plan import suite
from flipbench.plan.settings import flatten

PRINTS = {name: f"{i:x}" * 64 for i, name in enumerate(dataset.names())}
NAMES = [path.stem for path in suite.available()]


def expand(name, *only):
    """The plan of a suite, or of some rows as ``--only`` names them."""
    return plan.expand(plan.narrow(suite.load(name), only), PRINTS, lambda *_: None)


def pretrainings(name, *only):
    return {stage.key for stage in expand(name, *only).stages() if stage.role == "pretrain"}


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_can_be_planned(name):
    stages = expand(name).stages()
    assert len({stage.key for stage in stages}) == len(stages) > 0


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("table")])
def test_the_rows_of_a_table_are_the_papers(name):
    ours = {"constant", "item_mean", "bias", "linear", "without_field_level_masking_equal"}
    rows = {entry.label for entry in suite.load(name).methods} - ours
    table, _, searched = name.partition("_")
    papers = set(paper_methods(table))
    assert rows < papers if searched else rows == papers


@pytest.mark.parametrize(
    ("name", "distinct"),
    [
        ("table4", 3 * 10),  # backbones x seeds, each for three finetunings
        ("table6", 3 * 10),  # PLMs
        ("figure2", 2 * 10),
        ("figure6", 2 * 5 * 10),  # data sets x mask ratios: .15 is one of either curve
        ("figure7", 2 * 6 * 10),
        ("figure8", 4 * 10),
        ("figure9", 2 * 10),
    ],
)
def test_suite_shares_pretrainings(name, distinct):
    assert len(pretrainings(name)) == distinct


def test_figures_share_pretrainings():
    assert pretrainings("figure2") < pretrainings("figure8") < pretrainings("table7")
    ours = pretrainings("table2", "model=flip", "dataset=movielens-1m")
    assert ours < pretrainings("figure8")
    assert pretrainings("table2", "model=flip", "dataset=movielens-1m,bookcrossing") < pretrainings("table7")
    for name in ("figure6", "figure7", "figure9"):
        assert ours < pretrainings(name), f"{name}: FLIP at the paper's settings on MovieLens-1M is Table II's"
        assert len(pretrainings(name) & pretrainings("table4")) == 10, f"{name}: and on BookCrossing Table IV's"
    assert len(pretrainings("table4") & pretrainings("table6")) == 10


def test_siblings_share_pretrainings():
    here = "dataset=movielens-1m"
    flip = pretrainings("table2", "model=flip", here)
    ablation = pretrainings("table7", "model=without_mlm_mtm", here)
    assert pretrainings("siblings", "model=alt,alt_id,alt_plm") == flip
    assert pretrainings("siblings", "model=ctrl_dot") == ablation
    clickprompt = pretrainings("siblings", "model=clickprompt,clickprompt_id")
    assert len(clickprompt) == 10
    assert pretrainings("siblings") == flip | ablation | pretrainings("table2", "model=ctrl", here) | clickprompt
    assert len(pretrainings("siblings")) == 4 * 10


def test_figure_2_is_two_panels_of_figure_8():
    two, eight = ({stage.key for stage in expand(name).stages()} for name in ("figure2", "figure8"))
    assert two < eight


@pytest.mark.parametrize(
    ("name", "swept"),
    [
        ("figure6", {f"pretrain.{side}_mask_ratio": {0.15, 0.3, 0.6} for side in ("text", "table")}),
        ("figure7", {"pretrain.temperature": {0.05, 0.1, 0.3, 0.5, 0.7, 1.0}}),
    ],
)
def test_the_swept_values_are_the_papers(name, swept):
    settings = [flatten(cell.settings) for cell in expand(name).cells]
    values = {key: {each[key] for each in settings} for key in settings[0]}
    assert {key: different for key, different in values.items() if len(different) > 1} == swept
