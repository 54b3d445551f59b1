"""Results on a data set of one's own are shared without the data: a bundle, an export, what to cite."""

import re
import shutil
import tarfile

import own_data
import pytest

from flipbench import api
from flipbench.errors import UserError

SUITE = """\
suite: mine
title: On my clicks
data: [{data}]
seeds: 2
validation: last-ninth
settings: {{max_epochs: 1, batch_size: 16}}
methods: [bias, dcnv2]
compare: {{reference: dcnv2}}
outputs: {{results: {folder}/results, reports: {folder}/reports}}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory, own_home):
    """A folder with data, results, and a suite's file for each place that it may name the data by."""
    folder = tmp_path_factory.mktemp("mine")
    description = own_data.write(folder / "data", citation="Ours.")
    for name, data in {"suites": "../data/my-clicks.yaml", ".": "data/my-clicks.yaml"}.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "mine.yaml").write_text(SUITE.format(data=data, folder=folder))
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "mine.yaml").write_text(SUITE.format(data="../../data/my-clicks.yaml", folder=folder))
    (folder / "a" / "mine.yaml").write_text(SUITE.format(data=description, folder=folder))
    suite = api.load_suite(folder / "mine.yaml")
    assert api.run(suite, device="cpu", workers=1).failures == {}
    api.report(suite, figures=False)
    return folder


@pytest.mark.parametrize(("suite", "place"), [("mine.yaml", "suites/data"), ("suites/mine.yaml", "data")])
def test_a_bundle_verifies_elsewhere_without_the_data(made, suite, place, tmp_path, cli, monkeypatch):
    path, runs = api.bundle(api.load_suite(made / suite), tmp_path / "mine.tar")
    assert runs == 8
    with tarfile.open(path) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "there", filter="data")
    assert f"mine/{place}/my-clicks.yaml" in names
    assert not [name for name in names if name.endswith(".csv") and "reports/" not in name], "no data"
    monkeypatch.chdir(shutil.move(tmp_path / "there" / "mine", tmp_path / "elsewhere"))
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "empty"))
    code, out, err = cli("verify", "suites/mine.yaml", "--results", "results", "--reports", "reports")
    assert (code, out) == (
        0,
        "mine: 8 runs checked (labels only against each other: no my-clicks here), all follows\n",
    ), err


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (
            "a/mine.yaml",
            r"mine\.yaml: data: .*my-clicks\.yaml: a bundle needs a path relative to the suite's file: \.\./data",
        ),
        ("a/b/mine.yaml", r"my-clicks\.yaml: lies outside the folder above the suite's"),
    ],
)
def test_a_path_that_means_nothing_elsewhere_is_refused(made, suite, message, tmp_path):
    with pytest.raises(UserError, match=message):
        api.bundle(api.load_suite(made / suite), tmp_path / "mine.tar")


def test_an_export_and_a_citation_name_it_by_its_name(made, tmp_path, cli):
    code, _, err = cli("export", made / "mine.yaml", "--to", tmp_path, "--hub", "my-clicks=me/clicks")
    assert (code, err) == (0, "")
    assert "id: me/clicks\n" in (tmp_path / ".eval_results" / "mine-dcnv2.yaml").read_text()
    code, out, err = cli("cite", made / "mine.yaml")
    assert (code, err) == (0, "")
    assert re.search(r"@misc\{my-clicks,\n  title = \{my-clicks\},\n  note = \{Ours\.\},\n\}", out)
