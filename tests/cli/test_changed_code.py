"""A method whose code was changed under the same version: its old runs are not taken for new ones in silence."""

import importlib
import json
import shutil
import sys
import tarfile

import pytest

from flipbench import api, plugins
from flipbench.errors import DamagedError
from flipbench.plan import registry, suite
from flipbench.store.code import ACCEPTED, RunCode
from flipbench.store.planning import plan_of, store_of
from flipbench.train.checkpoint import Checkpoint

MODEL = '''
from flipbench.models.id_model import IDModel
from flipbench.plan.settings import Guess
from ownmodels.parts import scaled


class Own(IDModel):
    """The first-order term alone."""

    version = 1
    settings = {"unused": Guess(1, "to have one")}

    def __init__(self, features, fields, *, unused):
        super().__init__(features, fields, 1, representation_dim=1)

    def represent(self, ids):
        return scaled(self.first_order(ids)).unsqueeze(1)
'''
PARTS = "def scaled(logit):\n    return logit * 2\n"
CHANGED = PARTS.replace("2", "-0.25")
FAST = "{max_epochs: 1, batch_size: 4096, embedding_dim: 4, hidden: [4], cross_layers: 1}"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Somebody's package of two modules; returns its folder."""

    def forget():
        plugins.forget()
        for known in (registry.get, registry._targets, registry._methods):
            known.cache_clear()
        for module in [name for name in sys.modules if name.partition(".")[0] == "ownmodels"]:
            del sys.modules[module]

    info, folder = tmp_path / "site" / "ownmodels-1.0.dist-info", tmp_path / "site" / "ownmodels"
    info.mkdir(parents=True)
    folder.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ownmodels\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flipbench.id_models]\nown = ownmodels.model:Own\n")
    (folder / "__init__.py").write_text("")
    (folder / "model.py").write_text(MODEL)
    (folder / "parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    forget()
    yield folder
    forget()


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test that needs them leaves the runs to the others."""
    return tmp_path_factory.mktemp("kept") / "results"


@pytest.fixture
def ran(own, suite_file, cli, kept, tmp_path):
    """A suite of two rows, run: its file."""
    path = suite_file(methods="[own, dcnv2]", settings=FAST, seeds="2", refit="")
    if kept.exists():
        shutil.copytree(kept, tmp_path / "results")
    else:
        assert cli("run", path, "--workers", "1")[0] == 0
        shutil.copytree(tmp_path / "results", kept)
    return path


def found(path):
    loaded = suite.load(str(path))
    store = store_of(loaded)
    return store, {stage.key: stage for stage in plan_of(loaded, store).stages()}


def is_said(line, own):
    method = f"'own' ({own / 'model.py'} with 1 module that it imports)"
    return f"code has changed: {method}: 2 finished runs are of other code under the same version 1; " in line


def test_a_run_records_the_digest_of_each_method_in_it(ran):
    store, stages = found(ran)
    recorded = {stage.method: store.read(stage, "env.json")["code"] for stage in stages.values()}
    assert {method: list(code) for method, code in recorded.items()} == {"own": ["own"], "dcnv2": ["dcnv2"]}
    assert all(len(digest) == 64 for code in recorded.values() for digest in code.values())


def test_comments_and_the_grid_are_no_change(ran, own, cli):
    (own / "parts.py").write_text(f'"""What models share."""\n{PARTS}  # twice\n')
    (own / "model.py").write_text(MODEL.replace("version = 1\n", "version = 1\n    grid = {'unused': [1, 2]}\n"))
    for verb in ("run", "status", "plan"):
        code, _, err = cli(verb, ran)
        assert (code, "code has changed" in err) == (0, False)


def test_a_change_stops_run_and_is_said_by_the_others(ran, own, cli, refused):
    store, _ = found(ran)
    cli("report", ran, "--no-figures")
    (own / "parts.py").write_text(CHANGED)
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    for options in ((), ("--seeds", 2), ("--only", "model=own")):
        line = refused("run", ran, *options)
        assert is_said(line, own)
        assert "raise its 'version'" in line
        assert "--accept-code" in line
    code, out, err = cli("run", ran, "--dry-run")
    assert (code, "0 of 8 stages to run" in out, is_said(err, own)) == (1, True, True)
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before
    assert cli("run", ran, "--only", "model=dcnv2")[0] == 0, "another row is undisturbed"
    for verb in ("status", "plan", "verify"):
        for options in ((), ("--json",)):
            code, out, err = cli(verb, ran, *options)
            assert (code, sum(is_said(line, own) for line in err.splitlines())) == (0, 1), verb
            if options:
                json.loads(out)
    (changed,) = json.loads(cli("verify", ran, "--json")[1])[0]["changed_code"]
    assert changed == {"method": "own", "file": str(own / "model.py"), "runs": 2}
    (own / "parts.py").write_text(PARTS)
    code, _, err = cli("run", ran)
    assert (code, "4 of 4 runs done" in err, "code has changed" in err) == (0, True, False)


def test_a_report_marks_the_row_in_every_format_and_verifies(ran, own, cli, tmp_path):
    def shown():
        files = {path.suffix: path.read_text(encoding="utf-8") for path in (tmp_path / "reports").glob("mini.*")}
        return {**files, "terminal": cli("report", ran, "--no-figures")[1]}

    cli("report", ran, "--no-figures")
    unmarked = shown()
    assert not [name for name, text in unmarked.items() if "‡" in text or "ddagger" in text or '"code"' in text]
    (own / "parts.py").write_text(CHANGED)
    assert cli("verify", ran)[0] == 0, "it was made before the change"
    cli("report", ran, "--no-figures")
    marked = shown()
    said = "code changed under the same version: own ('own' differs from today's)."
    assert "own ‡  " in marked["terminal"]
    assert "| own ‡ " in marked[".md"]
    assert r"own$\ddagger$ &" in marked[".tex"]
    assert '<th scope="row" class="text">own ‡<' in marked[".html"]
    assert all("DCNv2 ‡" not in text for text in marked.values())
    for name in (".md", ".json", "terminal"):
        assert f"‡: {said}" in " ".join(marked[name].split()), name
    assert f"‡: {said}".replace("'", "&#39;") in marked[".html"]
    assert rf"$\ddagger$: {said}" in marked[".tex"]
    assert json.loads(marked[".json"])["code"]["rows"] == {"own": ["'own' differs from today's"]}
    assert cli("verify", ran)[0] == 0
    (own / "parts.py").write_text(PARTS)
    assert cli("verify", ran)[0] == 0, "the marks are those of the report's day"
    forged = tmp_path / "reports" / "mini.md"
    forged.write_text(forged.read_text(encoding="utf-8").replace("own ‡", "own"), encoding="utf-8")
    assert cli("verify", ran)[0] == 3


def test_accepted_code_is_the_same_for_every_verb_and_later_runs(ran, own, cli, refused, tmp_path):
    store, stages = found(ran)
    (own / "parts.py").write_text(CHANGED)
    code, _, err = cli("run", ran, "--accept-code")
    assert (code, "4 of 4 runs done" in err) == (0, True)
    assert f"{store.root / ACCEPTED}: accepted as the same code: 'own'" in err
    (line,) = (store.root / ACCEPTED).read_text().splitlines()
    record = json.loads(line)
    assert (record["method"], record["version"], len(record["same"])) == ("own", 1, 2)
    recorded = store.read(next(s for s in stages.values() if s.method == "own"), "env.json")["code"]["own"]
    assert recorded in record["same"], "the runs' record is what it was"
    for verb in ("run", "status", "plan"):
        code, _, err = cli(verb, ran)
        assert (code, "code has changed" in err) == (0, False)
    assert "‡" not in cli("report", ran, "--no-figures")[1]
    assert cli("run", ran, "--seeds", 3, "--workers", 1)[0] == 0, "a third seed, of the new code"
    assert "‡" not in cli("report", ran, "--seeds", 3, "--no-figures")[1]
    (own / "parts.py").write_text(PARTS)
    assert cli("run", ran)[0] == 0, "both are the same method"
    (own / "parts.py").write_text(CHANGED.replace("0.25", "0.125"))
    assert "3 finished runs are of other code" in refused("run", ran, "--seeds", 3)
    cli("run", ran, "--accept-code")
    assert cli("run", ran, "--seeds", 3)[0] == 0, "what was the same as either is the same as all"
    assert len((store.root / ACCEPTED).read_text().splitlines()) == 2


def test_a_new_version_runs_anew(ran, own, cli):
    (own / "parts.py").write_text(CHANGED)
    (own / "model.py").write_text(MODEL.replace("version = 1", "version = 2"))
    registry.get.cache_clear()
    store, stages = found(ran)
    assert sum(map(store.done, stages.values())) == len(stages) / 2
    code, _, err = cli("run", ran, "--workers", 1)
    assert (code, "4 of 4 runs done" in err, "code has changed" in err) == (0, True, False)


def test_a_row_of_two_codes_is_marked_whatever_todays_is(ran, own, cli, monkeypatch):
    (own / "parts.py").write_text(CHANGED)
    with monkeypatch.context() as patch:  # as a version of flipbench without the check would have gone on
        patch.setattr("flipbench.schedule.execute.RunCode.changed", lambda *_: [])
        assert cli("run", ran, "--seeds", 3, "--workers", 1)[0] == 0
    out = cli("report", ran, "--seeds", 3, "--no-figures")[1]
    assert "own ('own' differs between its runs and from today's)." in " ".join(out.split())
    assert api.changed_code(api.load_suite(ran, seeds=3))[0].runs == 2


def test_runs_from_before_are_of_no_known_code(own, suite_file, stored_runs, cli):
    path = suite_file(methods="[own, dcnv2]", settings=FAST, seeds="2")
    loaded = suite.load(str(path))
    stored_runs(plan_of(loaded, store := store_of(loaded)), store, {"own": 0.9, "dcnv2": 0.8})
    (own / "parts.py").write_text(CHANGED)
    for verb in ("run", "status", "plan"):
        code, _, err = cli(verb, path)
        assert (code, "code has changed" in err) == (0, False)
    assert "‡" not in cli("report", path, "--no-figures")[1]


def test_a_bundle_takes_what_is_accepted_along(ran, own, cli, tmp_path, monkeypatch):
    (own / "parts.py").write_text(CHANGED)
    cli("run", ran, "--accept-code")
    cli("report", ran, "--no-figures")
    assert cli("bundle", ran, "--to", tmp_path / "mini.tar")[0] == 0
    with tarfile.open(tmp_path / "mini.tar") as archive:
        archive.extractall(tmp_path / "there", filter="data")
    monkeypatch.chdir(tmp_path / "there" / "mini")
    code, out, err = cli("verify", "suites/mini.yaml", "--results", "results", "--reports", "reports")
    assert (code, "all follows" in out, "code has changed" in err) == (0, True, False)


def test_a_damaged_record_of_accepted_code_is_one_line(ran, own, refused, tmp_path):
    store, stages = found(ran)
    (own / "parts.py").write_text(CHANGED)
    for content in (b"{", b"[]", b'{"method": "own"}', b'{"method": "own", "version": 1, "same": "x"}', b"\xff"):
        (store.root / ACCEPTED).write_bytes(content + b"\n")
        assert f"{store.root / ACCEPTED}: " in refused("run", ran, "--accept-code")
    (store.root / ACCEPTED).unlink()
    (tmp_path / "elsewhere").write_text("")
    (store.root / ACCEPTED).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamagedError, match="a symbolic link"):
        RunCode(store).changed(stages.values())


def test_a_checkpoint_of_other_code_is_not_gone_on_from(tmp_path):
    Checkpoint(tmp_path / "c.pt", "key", code={"own": "a"}).save({"epoch": 3})
    assert Checkpoint(tmp_path / "c.pt", "key", code={"own": "a"}).load()["epoch"] == 3
    assert Checkpoint(tmp_path / "c.pt", "key", code={"own": "b"}).load() is None
    Checkpoint(tmp_path / "old.pt", "key").save({"epoch": 3})
    assert Checkpoint(tmp_path / "old.pt", "key", code={"own": "b"}).load()["epoch"] == 3, "it was not recorded then"
