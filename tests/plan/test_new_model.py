"""A package of one's own, from ``new`` to a table, as a user would."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from flipbench.plan.new_model import FILES

DOCS = Path(__file__).parents[2] / "docs" / "your-own-model.md"


def call(folder, *arguments, site=None):
    """A command as in a shell of its own, with what is installed in ``site``."""
    path = os.pathsep.join(filter(None, [site and str(site), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder, site):
    """What ``pip install --editable`` leaves: the folder on the path, and the entry points of ``pyproject.toml``."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [[f"[{group}]", *(f"{name} = {target}" for name, target in points.items())] for group, points in groups]
    (info / "entry_points.txt").write_text("\n".join(line for group in lines for line in group) + "\n")
    return os.pathsep.join([str(site), str(folder)])


def test_from_new_to_a_table_in_three_commands(tmp_path):
    call(tmp_path, "-m", "flipbench", "new", "model", "my_fm")
    folder = tmp_path / "my_fm"
    (shown,) = re.findall(r"^```console\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    readme = (folder / "README.md").read_text().replace("my_fm", "my_model")
    assert shown.partition("cd my_model\n")[2] in readme, "the docs show the README's commands"
    pip, run, report = re.findall(r"^(?:pip|flipbench) .*$", (folder / "README.md").read_text(), re.MULTILINE)
    assert pip == "pip install --editable ."
    site = install(folder, tmp_path / "site")
    before = os.times().children_user
    call(folder, "-m", *run.split(), "--workers", "1", site=site)
    assert os.times().children_user - before < 60, "under a minute of compute"
    table = call(folder, "-m", *report.split(), "--no-figures", site=site)
    assert re.search(r"^ +my_fm +0\.\d{4}", table, re.MULTILINE), table
    assert (folder / "reports" / "my_fm.html").exists()
    assert len(list((folder / "results").glob("planted-tiny/*/evaluate-*/DONE"))) == 9


def test_its_own_test_needs_no_installation(tmp_path):
    call(tmp_path, "-m", "flipbench", "new", "model", "my_fm", "--to", "elsewhere")
    said = call(tmp_path / "elsewhere", "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "9 passed" in said


def test_what_is_written_is_whole(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("new", "model", "deep_cross_2")
    assert code == 0
    assert out.split() == [f"deep_cross_2/{file.format(name='deep_cross_2')}" for file in FILES.values()]
    assert "next: cd deep_cross_2; pip install --editable .; flipbench run deep_cross_2.yaml" in err
    for path in map(Path, out.split()):
        text = path.read_text(encoding="utf-8")
        assert "$" not in text
        assert max(map(len, text.splitlines())) <= 120
        if path.suffix == ".py":
            ast.parse(text)
    suite = yaml.safe_load(Path("deep_cross_2/deep_cross_2.yaml").read_text())
    assert suite["methods"] == ["deepfm", "dcnv2", "deep_cross_2"], "beside two baselines"


def test_the_templates_are_in_the_package():
    """Beside modules, where hatch takes whatever git does not ignore into the wheel."""
    folder = files("flipbench.plan.new_model")
    assert {template.name for template in folder.iterdir() if template.name.endswith(".txt")} == set(FILES)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deepfm", "'deepfm' is registered already"),
        ("flip", "'flip' is registered already"),
        ("random", "'random' is the name of a Python module"),
        ("yaml", "'yaml' is the name of a Python module"),
        ("My-Model", "no name of a model: expected 2 to 60 lower-case letters, digits and underscores"),
        ("MyModel", "; nearest: my_model"),
        ("3d-net", "; nearest: d_net"),
        ("class", "and no word of Python's"),
        ("", "'' is no name of a model"),
        ("x" * 61, "is no name of a model"),
        ("a/b", "; nearest: a_b"),
        ("naïve", "is no name of a model"),
    ],
)
def test_names_that_are_refused(name, said, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused("new", "model", name)
    assert not list(tmp_path.iterdir())


def test_no_folder_is_overwritten(refused, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("new", "model", "mine_1")[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert "mine_1: it exists; name another folder with --to DIR" in refused("new", "model", "mine_1")
    assert "mine_1: it exists" in refused("new", "model", "mine_2", "--to", "mine_1")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "dangling: it exists" in refused("new", "model", "mine_2", "--to", "dangling")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
