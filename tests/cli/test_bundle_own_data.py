"""A bundle of a suite on somebody's own data set verifies where neither the data nor their package are."""

import importlib
import json
import sys
import tarfile

import pytest

from flipbench import plugins
from flipbench.data import dataset, elsewhere
from flipbench.plan import suite
from flipbench.store.planning import plan_of, store_of

DATA = """
from flipbench.data.dataset import Dataset
from flipbench.data.table import Field
def read(raw, allow_partial): ...
FIELDS = (Field("user_id", "user id", "user"), Field("item_id", "item id", "item"))
CLICKS = Dataset(
    "my-clicks", "My clicks", "", "", FIELDS, "click", read, orders=("file", "shuffled"), files=("clicks.csv",),
    fingerprint="f" * 64, expected={"samples": 5000},
)
"""


@pytest.fixture
def there(tmp_path, suite_file, stored_runs, cli, monkeypatch):
    """The bundle of a suite on an own data set in its second order, unpacked where nothing is installed or prepared."""

    def forget():
        plugins.forget()
        dataset._load.cache_clear()
        dataset._registered.cache_clear()
        dataset._elsewhere.clear()
        sys.modules.pop("somebodys_clicks", None)

    site = tmp_path / "site"
    info = site / "somebodys_data-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-data\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flipbench.datasets]\nmy-clicks = somebodys_clicks:CLICKS\n")
    (site / "somebodys_clicks.py").write_text(DATA)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(site)
        importlib.invalidate_caches()
        forget()
        path = suite_file(data="[my-clicks: {order: shuffled}]", methods="[dcnv2, deepfm]", settings="", seeds="2")
        loaded = suite.load(str(path))
        stored_runs(plan_of(loaded, store := store_of(loaded)), store, {"dcnv2": 0.9, "deepfm": 0.8})
        assert cli("report", path)[0] == 0
        assert cli("verify", path)[0] == 0
        assert cli("bundle", path, "--to", tmp_path / "mini.tar")[0] == 0
    with tarfile.open(tmp_path / "mini.tar") as archive:
        archive.extractall(tmp_path / "there", filter="data")
    importlib.invalidate_caches()
    forget()
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path / "there" / "mini")
    yield tmp_path / "there" / "mini"
    forget()


OPTIONS = ("suites/mini.yaml", "--results", "results")


def test_it_verifies_reports_and_is_bundled_again(there, cli):
    assert "my-clicks" not in dataset.names()
    code, out, err = cli("verify", *OPTIONS, "--reports", "reports")
    only = "labels only against each other: no my-clicks here"
    assert (code, out, err) == (0, f"mini: 12 runs checked ({only}), all follows\n", "")
    assert cli("report", *OPTIONS, "--reports", "again")[0] == 0
    for path in (there / "reports").iterdir():
        assert (there / "again" / path.name).read_bytes() == path.read_bytes(), path.name
    assert "400 test rows here, the paper's 500" in (there / "reports" / "mini.md").read_text(encoding="utf-8")
    assert cli("bundle", *OPTIONS, "--to", "second.tar")[0] == 0
    assert (there / "second.tar").read_bytes() == (there.parents[1] / "mini.tar").read_bytes()
    assert cli("status", *OPTIONS)[0] == 0


def test_what_is_missing_is_one_line(there, refused):
    line = refused("run", *OPTIONS)
    assert "data set 'my-clicks' is not prepared in " in line
    assert "run 'flipbench data import my-clicks --from DIR' where its package 'somebodys-data' is installed" in line
    path = there / "suites" / f"mini{elsewhere.SUFFIX}"
    document = json.loads(path.read_text())["my-clicks"]
    wrong = ({"orders": []}, {"orders": ["backwards"]}, {"orders": 3}, {"expected": [1]}, {"expected": {"rows": "x"}})
    texts = [json.dumps({"my-clicks": document | change}) for change in wrong]
    for text in (*texts, '{"my-clicks": {}}', '{"my-clicks": 3}', "[1]", "{", "[" * 100_000):
        path.write_text(text)
        assert f"suites/mini{elsewhere.SUFFIX}: no description of data sets" in refused("verify", *OPTIONS), text[:80]
    path.unlink()
    dataset._elsewhere.clear()
    assert "unknown data set 'my-clicks'" in refused("verify", *OPTIONS)


def test_a_suites_file_may_have_the_longest_name_there_is(suite_file):
    """That of a description beside it would be longer still."""
    name = "a" * (255 - len(".yaml"))
    path = suite_file(suite=name)
    assert suite.load(str(path.rename(path.with_name(f"{name}.yaml")))).suite == name
