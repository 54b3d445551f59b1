"""verify, bundle, explain, gap, claims and audit-paper as users call them."""

import io
import json
import os
import shlex
import shutil
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest
from forged import rewrite
from PIL import Image

from flipbench.cli.arguments import parser_of
from flipbench.cli.output import suite_of
from flipbench.plan import suite
from flipbench.store.planning import plan_of, store_of

OF_ONE = (".html", *(f"-calibration-movielens-1m.{ending}" for ending in ("png", "pdf", "csv")))
ROWS = "[deepfm, dcnv2, {flip: {plm: small}}]"


@pytest.fixture
def mini(suite_file, stored_runs, cli):
    """A suite reported without figures; returns its file, plan and store."""
    path = suite_file(
        data="[movielens-1m]", methods=ROWS, settings="", seeds="2", paper="table2", compare="{reference: flip}"
    )
    mini = suite.load(str(path))
    plan = plan_of(mini, store := store_of(mini))
    stored_runs(plan, store, {"deepfm": 0.8, "dcnv2": 0.9, "flip": 1.5})
    assert cli("report", path, "--no-figures")[0] == 0
    return path, plan, store


@pytest.fixture
def mismatch(cli):
    """Verifies what does not follow; returns the lines that say so."""

    def call(*arguments):
        code, _, err = cli("verify", *arguments)
        assert code == 3
        return err

    return call


def test_what_follows_is_verified(mini, cli):
    code, out, err = cli("verify", mini[0])
    only = "labels only against each other: no movielens-1m here"
    assert (code, out, err) == (0, f"mini: {len(mini[1].stages())} runs checked ({only}), all follows\n", "")


def test_changed_digit_is_exit_code_3(mini, cli, tmp_path):
    report = tmp_path / "reports" / "mini.md"
    report.write_text(report.read_text().replace("0.8548", "0.8549"))
    code, out, err = cli("verify", mini[0], "--json")
    assert (code, err.count("\n")) == (3, 1)
    assert "mini.md: line" in err
    assert "0.8549" in err
    assert len(json.loads(out)[0]["mismatches"]) == 1


def test_changes_name_their_run(mini, mismatch):
    path, plan, store = mini
    first, second = plan.cells[0].evaluations
    target = store.folder(first) / "predictions.parquet"
    target.write_bytes(target.read_bytes()[:-1] + b"!")
    err = mismatch(path)
    assert f"evaluate-s0-{first.key[:12]}" in err
    assert err.count("\n") == 1
    rewrite(store, second, "metrics.json", json.dumps({**store.metrics(second), "auc": 0.99}).encode())
    err = mismatch(path)
    assert "auc is 0.99 in metrics.json, 0." in err
    assert err.count("\n") == 2


def test_figures_and_the_page_follow_too(mini, cli, mismatch, tmp_path):
    one = (mini[0], "--only", "model=dcnv2")  # a calibration only: drawing takes long
    code, _, err = cli("report", *one)
    written = {Path(line.removeprefix("wrote ")) for line in err.splitlines()}
    assert (code, {file.suffix for file in written}) == (0, {".md", ".tex", ".json", ".pdf", ".png", ".csv", ".html"})
    assert cli("verify", *one)[0] == 0
    for file in written:
        content = file.read_bytes()
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    err = mismatch(*one)
    assert {Path(line.split(": ")[1]) for line in err.splitlines()} == written
    assert "calibration-movielens-1m.png: the picture is not what the results give" in err


def test_foreign_pictures_compare_by_numbers(mini, cli, mismatch, tmp_path):
    one = (mini[0], "--only", "model=dcnv2")
    cli("report", *one)
    page, picture, printed, numbers = (tmp_path / "reports" / f"mini{rest}" for rest in OF_ONE)
    page.write_text(page.read_text().replace("matplotlib ", "matplotlib 1."))
    assert cli("verify", *one)[::2] == (0, ""), "the pictures are what is drawn here, whatever drew them"
    drawn = picture.read_bytes()
    with Image.open(io.BytesIO(drawn)) as image:
        other = Image.new("RGB", image.size)
    picture.write_bytes(_png(other.crop((0, 0, 9, 9))))
    printed.write_bytes(b"as drawn elsewhere")
    err = mismatch(*one)
    for says in (
        "png: the picture has another size",
        "pdf: no picture",
        "html: shows other pictures",
    ):
        assert says in err
    printed.write_bytes(b"%PDF-1.4 as drawn elsewhere")
    picture.write_bytes(_png(other))
    page.write_text(page.read_text().replace(b64encode(drawn).decode(), b64encode(picture.read_bytes()).decode()))
    code, out, err = cli("verify", *one)
    assert code == 0
    assert "all but its pictures follows" in out
    assert "of the figures the numbers are compared, not the pictures: matplotlib 1." in err
    numbers.write_text(numbers.read_text().replace("dcnv2", "dcnv3", 1))
    page.write_text(page.read_text().replace("0.8548", "0.8549", 1))
    code, _, err = cli("verify", *one)
    assert (code, err.count("\n")) == (3, 3)
    assert "mini-calibration-movielens-1m.csv: line 2 has" in err
    assert "mini.html: line" in err


def _png(image):
    stream = io.BytesIO()
    image.save(stream, format="png")
    return stream.getvalue()


def test_a_run_that_is_gone_is_named(mini, mismatch):
    path, plan, store = mini
    gone = plan.cells[1].evaluations[1]
    shutil.rmtree(store.folder(gone))
    assert f"names run {gone.key[:12]} (dcnv2 on movielens-1m), which is not in the results" in mismatch(path)


def test_a_bundle_is_the_same_bytes_and_verifies_elsewhere(mini, cli, tmp_path, monkeypatch):
    path, plan, store = mini
    code, out, _ = cli("bundle", path, "--to", tmp_path / "one.tar")
    assert (code, out) == (0, f"{tmp_path / 'one.tar'}\n")
    for folder in store.root.rglob("*"):
        os.utime(folder, (1, 1))
    cli("bundle", path, "--to", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        archive.extractall(tmp_path / "there", filter="data")
    there = tmp_path / "there" / "mini"
    shutil.rmtree(store.root)
    monkeypatch.chdir(there)
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "empty"))
    options = ("suites/mini.yaml", "--results", "results", "--reports", "reports")
    code, out, _ = cli("verify", *options)
    assert (code, f"mini: {len(plan.stages())} runs checked (" in out, "all follows" in out) == (0, True, True)


def test_a_bundle_of_damaged_or_no_runs_is_refused(mini, refused, tmp_path):
    path, plan, store = mini
    (store.folder(plan.cells[0].evaluations[0]) / "env.json").write_text("{}")
    assert "env.json: changed since the run was finished" in refused("bundle", path, "--to", tmp_path / "x.tar")
    shutil.rmtree(store.root)
    assert "no finished run" in refused("bundle", path, "--to", tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()


def test_explain_tells_runs_settings_tests_and_verdict(mini, cli):
    path, plan, _ = mini
    code, out, _ = cli("explain", path, "dcnv2", "movielens-1m")
    assert code == 0
    key = plan.cells[1].evaluations[1].key[:12]
    for said in ("paper 0.8548", "(margin ±0.001", key, "flip − dcnv2", "embedding_l2"):
        assert said in out
    record = json.loads(cli("explain", path, "dcnv2", "movielens-1m", "--json")[1])
    assert [r["seed"] for r in record["runs"]] == [0, 1]
    assert {(d["row"], d["against"], d["seeds"]) for d in record["differences"]} == {("flip", "dcnv2", 2)}
    assert record["metrics"]["auc"]["verdict"]["outcome"] in ("better", "worse", "inconclusive")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dcnv3", "movielens-1m"), "mini has no row 'dcnv3'; did you mean 'dcnv2'?"),
        (("dcnv2", "movielens"), "mini has no data set 'movielens'; did you mean 'movielens-1m'?"),
    ],
)
def test_a_cell_that_is_not_there_names_the_nearest(mini, refused, arguments, says):
    assert says in refused("explain", mini[0], *arguments)


def test_gap_has_a_rung_a_factor(mini, suite_file, stored_runs, cli):
    path, _, store = mini
    random_order, other_settings = {"data": "[movielens-1m: {order: random}]"}, {"settings": "{embedding_l2: 0.0}"}
    for change in ({"protocol": "as-released"}, random_order, other_settings):
        options = {"data": "[movielens-1m]", "methods": "[dcnv2]", "settings": "", **change}
        other = suite.load(str(suite_file(**options)))
        stored_runs(plan_of(other, store), store, {"dcnv2": 1.2})
    suite_file(data="[movielens-1m]", methods=ROWS, settings="", seeds="2", paper="table2")
    code, out, _ = cli("gap", path, "--only", "model=dcnv2", "--json")
    assert code == 0
    (ladder,) = json.loads(out)
    rungs = {r["factor"]: r for r in ladder["rungs"]}
    assert list(rungs) == ["paper", "protocol", "split", "vocabulary", "seed", "grid", "ours"]
    assert rungs["paper"]["auc"] == 0.8548
    assert rungs["protocol"]["what"] == "as-released"
    assert rungs["split"]["what"] == "random"
    assert rungs["grid"]["what"] == "embedding_l2 0.0"
    assert rungs["grid"]["step"] == pytest.approx(rungs["grid"]["auc"] - rungs["ours"]["auc"])
    assert len(rungs["ours"]["runs"]) == 2
    assert (rungs["vocabulary"]["auc"], rungs["seed"]["auc"]) == (None, None)
    assert [f for f, r in rungs.items() if r["command"]] == ["vocabulary", "seed"]
    lines = cli("gap", path, "--only", "model=dcnv2")[1].splitlines()
    assert next(line for line in lines if line.startswith("vocabulary")).split()[-2:] == ["—", "—"]
    again = f"no run with another seed: flipbench run {path} --only dataset=movielens-1m --only model=dcnv2 --seeds 3"
    assert again in lines


@pytest.mark.parametrize("factor", ["protocol", "split", "seed", "grid"])
def test_the_command_of_an_empty_rung_fills_it(factor, suite_file, stored_runs, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = "{dcnv2's: {method: dcnv2, cross_layers: 2, learning_rate: 0.00001}}"
    path = suite_file(data="[movielens-1m]", methods=f"[{row}]", settings="", paper="table2")
    mini = suite.load(str(path))
    store = store_of(mini)
    stored_runs(plan_of(mini, store), store, {"dcnv2's": 0.9})

    def rung():
        (ladder,) = json.loads(cli("gap", path, "--json")[1])
        return next(r for r in ladder["rungs"] if r["factor"] == factor)

    assert rung()["auc"] is None
    verbs = [shlex.split(command) for command in rung()["command"].split(" && ")]
    if verbs[0][0] == "echo":  # the shell's part
        assert verbs[0][2:] == [">", "gap.yaml"]
        Path("gap.yaml").write_text(verbs[0][1])
    (*_, (program, verb, *arguments)) = verbs
    args = parser_of().parse_args([verb, *arguments])
    assert (program, verb) == ("flipbench", "run")
    asked = suite_of(args)
    for _ in range(2):  # a search first, then what it chose
        stored_runs(plan := plan_of(asked, store), store, {"dcnv2's": 1.2})
        for number, trial in enumerate(t for cell in plan.cells for t in cell.trials if not store.done(t)):
            store.work(trial)
            epoch = {"epoch": 0, "auc": 0.6 + number / 100, "logloss": 0.7}
            best = {"best": epoch, "history": [epoch]}
            store.commit(trial, {"metrics.json": best, "env.json": {"torch": "2.13.0"}})
    assert rung()["auc"] is not None
    assert rung()["command"] == ""


def test_claims_without_results(cli, tmp_path):
    code, out, _ = cli("claims", "--results", tmp_path, "--json")
    assert code == 0
    claims = json.loads(out)
    assert len(claims) == 25
    assert {c["verdict"] for c in claims} == {"not run"}
    assert {c["id"] for c in claims if c["paper"] == "refuted"} == {6, 10, 12, 14, 16, 18}


def test_audit_paper(cli):
    code, out, _ = cli("audit-paper")
    assert code == 0
    assert "Table IV autoint/none bookcrossing auc" in out
    assert "Rel.Impr: 39 of 39 agree" in out
    assert len(json.loads(cli("audit-paper", "--json")[1])) == 39 + 44 + 17


def test_verify_without_results_is_a_users_mistake(refused, tmp_path):
    assert "no suite has results to verify" in refused("verify", "--results", tmp_path)
