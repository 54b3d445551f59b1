"""The command line as users meet it: in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flipbench.cli import main
from flipbench.cli.results import _metric
from flipbench.data import store

KINDS = ("pdf", "png", "csv")


def flipbench(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flipbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.mark.parametrize("verb", ["--help", "list models", "list suites", "list models --json", "status SUITE"])
def test_looking_around_needs_no_heavy_library(verb, suite_file):
    heavy = {"torch", "scipy", "pandas", "sklearn", "matplotlib"}
    words = verb.replace("SUITE", str(suite_file())).split()
    code = f"import sys; from flipbench.cli import main\ntry: main({words!r})\nexcept SystemExit: pass\n"
    code += f"assert not {heavy!r} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_shells_complete_verbs_options_and_suites(shell, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert end.value.code == 0
    assert all(word in script for word in ("audit-paper", "calibrate", "table2_tuned"))


def test_bash_completes_the_name_of_a_suite():
    words = 'COMP_WORDS=(flipbench run table2_tu); COMP_CWORD=2; _shtab_flipbench; echo "${COMPREPLY[@]}"'
    source = f"source <({sys.executable} -m flipbench --print-completion bash)"
    done = subprocess.run(["bash", "-c", f"{source}; {words}"], capture_output=True, text=True, timeout=60)
    assert done.stdout == "table2_tuned\n", done.stderr


def test_unprepared_data_hides_no_results(suite_file, cli, refused, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # bundle writes where it is called
    path = suite_file(data="[planted-tiny, goodreads]", methods="[afm]")
    assert refused("run", path).endswith("; without it: --only dataset=planted-tiny\n")
    assert cli("run", path, "--only", "dataset=planted-tiny", "--workers", "1")[0] == 0
    for verb in ("report", "status", "verify", "gap", "bundle"):
        assert cli(verb, path)[0] == 0, verb
    _, out, err = cli("status", path)
    assert "not prepared here: goodreads" in err
    assert "1 of 1 runs done" in out


def test_a_plan_names_what_is_not_prepared_and_plans_the_rest(suite_file, cli, refused, monkeypatch):
    looked, known = [], store.known_fingerprint
    monkeypatch.setattr(store, "known_fingerprint", lambda name: (looked.append(name), known(name))[1])
    path = suite_file(data="[planted-tiny, goodreads]", methods="[afm]")
    code, out, err = cli("plan", path)
    assert code == 0
    assert "3 of 3 stages to run" in out
    assert "not planned: data set 'goodreads' is not prepared in " in err
    assert "'flipbench data import goodreads --from DIR'" in err
    assert looked == ["planted-tiny", "goodreads"], "each looked up once"
    assert len(json.loads(cli("plan", path, "--json")[1])["not_prepared"]) == 1
    code, _, err = cli("plan", path, "--budget", "9999d")
    assert code == 1
    assert "--budget 9999d: nothing is known of what is not planned: data set 'goodreads'" in err
    for wrong in (["run", path], ["run", path, "--dry-run"], ["plan", path, "--only", "dataset=goodreads"]):
        assert "'goodreads' is not prepared" in refused(*wrong)


def test_from_a_suite_to_a_table_and_nothing_twice(suite_file, tmp_path):
    path = suite_file(methods="[deepfm, dcnv2]", seeds="2", compare="{reference: dcnv2}")
    dry = flipbench("run", path, "--dry-run")
    assert "12 of 12 stages to run" in dry.stdout
    assert not (tmp_path / "results").exists()
    first = flipbench("run", path)
    assert first.returncode == 0, first.stderr
    assert "[12/12]" in first.stderr
    assert "mini: 4 of 4 runs done" in first.stderr
    began = time.monotonic()
    again = flipbench("run", path)
    assert time.monotonic() - began < 20
    assert (again.returncode, again.stderr.count("\n")) == (0, 1), "nothing runs twice"
    assert "0 of 12 stages to run" in flipbench("plan", path).stdout
    more = json.loads(flipbench("plan", path, "--seeds", "3", "--json").stdout)
    assert more["to_run"] == 6
    assert more["expected_seconds"] > 0, "like stages were measured"

    status = json.loads(flipbench("status", path, "--json").stdout)
    assert [(c["done"], c["expected"], c["failed"]) for c in status["cells"]] == [(2, 2, [])] * 2
    report = flipbench("report", path)
    assert report.returncode == 0, report.stderr
    assert "DeepFM" in report.stdout
    written = {p.name: p.read_bytes() for p in (tmp_path / "reports").iterdir()}
    drawn = {f"mini-{what}-planted-tiny.{kind}" for what in ("forest", "cost", "calibration") for kind in KINDS}
    assert set(written) == {"mini.md", "mini.tex", "mini.json", "mini.html", *drawn}
    flipbench("report", path)
    assert written == {p.name: p.read_bytes() for p in (tmp_path / "reports").iterdir()}, "byte-stable"

    key = json.loads(flipbench("plan", path, "--json").stdout)["stages"][-1]["key"]
    shown = json.loads(flipbench("show", key, "--results", tmp_path / "results", "--json").stdout)
    assert shown[0]["spec"]["method"] == "dcnv2"
    assert shown[0]["metrics"]["rows"] > 0
    assert flipbench("show", key[:8], "--results", tmp_path / "results").stdout.startswith(str(tmp_path))


def test_as_released_selects_on_the_test_rows_and_says_so(suite_file, tmp_path, cli):
    path = suite_file()
    assert cli("run", path, "--protocol", "as-released")[0] == 0
    folders = tmp_path / "results" / "planted-tiny" / "dcnv2"
    fitted = json.loads(next(folders.glob("fit-*/metrics.json")).read_text())
    scored = json.loads(next(folders.glob("evaluate-*/metrics.json")).read_text())
    assert fitted["best"]["auc"] == scored["auc"]
    report = " ".join(cli("report", path, "--protocol", "as-released", "--no-figures")[1].split())
    assert "test rows were used for selection" in report


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "tabel2"], "unknown suite 'tabel2'; did you mean 'table2'?"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["run", "smoke", "--seeds", "-1"], "--seeds -1: must be at least 1"),
        (["run", "smoke", "--workers", "0"], "--workers 0: must be at least 1"),
        (["run", "smoke", "--device", "cuda:7"], "--device cuda:7: not usable here"),
        (["run", "smoke", "--only", "model=deepfn"], "the suite has no 'deepfn'; did you mean 'deepfm'?"),
        (["runn"], "invalid choice: 'runn'"),
        (["data", "check", "movielens"], "unknown data set 'movielens'; did you mean 'movielens-1m'?"),
        (["data", "import", "movielens-1m", "--from", "nowhere"], "nowhere"),
        (["show", "ffff"], "no run in results"),
        (["report", "smoke", "--results", ".", "--reports", "/proc/reports"], "/proc/reports"),
        (["run", "smoke", "--results", "/proc/results"], "results folder /proc/results cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, words, tmp_path):
    done = flipbench(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists(), "nothing half-written"


def test_data_that_is_not_prepared_names_the_command(suite_file, tmp_path, refused, monkeypatch):
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    assert "flipbench data fetch movielens-1m" in refused("run", suite_file(data="[movielens-1m]"))


def test_output_cut_short_by_its_reader_is_no_error():
    command = f"{sys.executable} -m flipbench list models | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_a_report_before_all_seeds_are_run_says_how_many(suite_file, cli):
    path = suite_file(seeds="5")
    assert cli("run", path, "--seeds", "1")[0] == 0
    text = " ".join(cli("report", path, "--no-figures")[1].split())
    assert "The suite asks for 5 seeds; 1 so far." in text
    assert "One seed: no spread known." in text


def test_a_share_that_rounds_to_none_has_no_sign_and_equal_seeds_no_spread():
    shown = {"text": "0.8415", "sd": 0.0, "share": -0.0, "paper": None, "verdict": None}
    assert _metric(shown, 3) == "0.8415 (3 seeds)  0 % of the way from floor to best"
    assert "± 0.0010 (3 seeds)  0 %" in _metric({**shown, "sd": 0.001, "share": -0.4}, 3)
