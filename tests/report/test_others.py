"""Numbers of other sources: typed, and printed beside ours under their name in every format."""

import json
import re

import pytest

from flipbench.errors import UserError
from flipbench.paper.others import _load, published
from flipbench.plan import registry
from flipbench.plan.suite import load

RECBOLE = "[movielens-1m, movielens-1m: {order: random, published: recbole-ml-1m}]"


def test_every_number_is_one_and_has_its_file():
    for source in _load().values():
        assert source.where.isprintable()
        assert source.differs.endswith(".")
        for method, row in source.rows.items():
            assert method in registry.names()
            assert (row.keys(), 0.5 < row["auc"] < 1, 0 < row["logloss"] < 0.7) == ({"auc", "logloss", "file"}, 1, 1)
    recbole = published("recbole-ml-1m", "movielens-1m", "random")
    assert (recbole.value("dcnv2", "auc"), recbole.value("dcnv2", "logloss")) == (0.8998, 0.3119)
    assert recbole.value("flip", "auc") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[movielens-1m: {order: random, published: recbole}]", "published: unknown 'recbole'; .*recbole-ml-1m"),
        ("[movielens-1m: {published: recbole-ml-1m}]", "is of movielens-1m, random order, not of movielens-1m, chrono"),
    ],
)
def test_a_wrong_key_or_column_is_one_line(suite_file, data, message):
    with pytest.raises(UserError, match=rf"mini\.yaml: .*{message}"):
        load(str(suite_file(data=data)))


def test_it_is_no_part_of_a_key(stored):
    plans = [
        stored({"dcnv2": 1.0}, data=data)[0] for data in (RECBOLE, RECBOLE.replace(", published: recbole-ml-1m", ""))
    ]
    assert len({tuple(stage.key for stage in plan.stages()) for plan in plans}) == 1


@pytest.mark.parametrize("paper", ["", "table2"])
def test_shown_beside_ours_in_every_format(cli, stored, paper):
    """The paper's table has no column for the random split, so that one header stands over one source."""
    plan, _ = stored({"dcnv2": 1.0, "mine": 0.5}, data=RECBOLE, methods="[dcnv2, mine: {method: deepfm}]", paper=paper)
    path = plan.suite.file
    assert cli("report", path, "--no-figures")[0] == 0
    reports = path.parent / "reports"
    cells = json.loads((reports / "mini.json").read_text())["cells"]
    theirs = {(c["method"], c["metric"]): c for c in cells if c["source"] == "RecBole"}
    assert {c["dataset"] for c in theirs.values()} == {"movielens-1m@random"}
    assert theirs["linear", "auc"]["text"] == "0.8699", "also of rows that the suite lacks"
    assert theirs["dcnv2", "logloss"]["value"] == 0.3119
    assert theirs["mine", "auc"]["status"] == "not-run"
    markdown = (reports / "mini.md").read_text()
    assert re.search(r"AUC \|\s+RecBole \|", markdown)
    assert "seven (user, age, gender" in markdown
    assert ">RecBole</th>" in (reports / "mini.html").read_text()
    assert r"\multicolumn{2}{c}{AUC}" in (reports / "mini.tex").read_text()
    assert "RecBole" in cli("report", path, "--no-figures")[1]
