"""The wheel: what is inside, what an index would show of it, and that it does everything in an empty folder."""

import re
import subprocess
import sys
import tomllib
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BUILD = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"

USE = """
import sys
from pathlib import Path
import flipbench
from flipbench.cli import main
assert Path(flipbench.__file__).is_relative_to(sys.argv[1]), flipbench.__file__
for line in sys.stdin.read().splitlines():
    print("$", line, flush=True)
    assert main(line.split()) == 0, line
"""
COMMANDS = """\
list suites
list models
cite table2
plan quickstart
run mine.yaml --device cpu --workers 1
report mine.yaml
verify mine.yaml
export mine.yaml --to exported
cite mine.yaml
new model my_model
check model deepfm
data describe clicks.csv
run own.yaml --device cpu --workers 1
report own.yaml
data rows clicks.yaml
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-c", BUILD, str(folder)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    with ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def metadata(wheel):
    (path,) = wheel.glob("*.dist-info/METADATA")
    return message_from_string(path.read_text("utf-8"))


def files(folder, pattern):
    return {path.relative_to(folder) for path in folder.glob(pattern) if "__pycache__" not in path.parts}


def test_it_holds_all_that_the_packages_do_and_the_suites_and_nothing_else(wheel):
    for package in ("flipbench", "baselines"):
        ours = files(ROOT / package, "**/*.*")
        if package == "flipbench":
            ours |= {Path("suites") / path for path in files(ROOT / "suites", "*.yaml")}
        assert files(wheel / package, "**/*.*") == ours
    assert {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")} == {"flipbench", "baselines"}
    kinds = {path.suffix for path in files(wheel, "**/*.*")}
    assert {".py", ".yaml", ".bib", ".html", ".css", ".js", ".typed"} <= kinds


def test_an_index_shows_links_that_lead_somewhere(metadata):
    """No address of the repository is known: a link inside it is told by its path."""
    shown, readme = metadata.get_payload(), (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"\]\(([^)]*)\)", shown)
    assert links
    assert all(link.startswith("https://") for link in links), links
    inside = [link for link in re.findall(r"\]\(([^)]*)\)", readme) if not link.startswith("https://")]
    assert inside
    for link in inside:
        assert f"(`{link}`)" in shown
    assert re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", readme) == re.sub(
        r"\[([^\]]+)\]\([^)]*\)|(?<=\S) \(`(?:" + "|".join(map(re.escape, inside)) + r")`\)", r"\1", shown
    ), "nothing else is changed"


def test_it_says_where_it_comes_from_and_what_it_runs_on(metadata):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    urls = dict(entry.split(", ") for entry in metadata.get_all("Project-URL"))
    arxiv = citation["references"][0]["identifiers"][0]["value"].removeprefix("arXiv:")
    assert urls["Paper"] == f"https://arxiv.org/abs/{arxiv}"
    pythons = [c.rpartition(" ")[2] for c in metadata.get_all("Classifier") if re.search(r":: 3\.\d+$", c)]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert metadata["Requires-Python"] == f">={pythons[0]}"
    assert metadata["Version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_it_does_everything_in_an_empty_folder(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(wheel))
    (tmp_path / "mine.yaml").write_text(
        "suite: mine\ntitle: A first suite\ndata: [planted-tiny]\nseeds: 2\nmethods: [deepfm, constant]\n"
        "settings: {max_epochs: 1, batch_size: 512}\ncompare: {reference: deepfm}\n"
    )
    (tmp_path / "own.yaml").write_text(
        "suite: own\ntitle: My clicks\ndata: [clicks.yaml]\nmethods: [constant, dcnv2: {max_epochs: 1}]\n"
    )
    clicks = [f"u{n % 7},i{n % 5},{1_700_000_000 + n},{n * 7 % 3 % 2}\n" for n in range(300)]
    (tmp_path / "clicks.csv").write_text("".join(["user_id,item_id,time,click\n", *clicks]))
    command = [sys.executable, "-c", USE, str(wheel)]
    done = subprocess.run(
        command, cwd=tmp_path, input=COMMANDS, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line[2:] for line in done.stdout.splitlines() if line.startswith("$ ")] == COMMANDS.splitlines()
    written = {path.name for path in tmp_path.iterdir()}
    own = {"own.yaml", "clicks.csv", "clicks.yaml", "my_model"}
    assert written == {"mine.yaml", "results", "reports", "exported", *own}
    assert (tmp_path / "exported" / "mine.runs.csv").read_text().count("\n") == 5
    assert (tmp_path / "reports" / "mine.html").stat().st_size > 10_000
