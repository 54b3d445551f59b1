"""Options are checked before anything runs, and even where nothing is left to run."""

import pytest

from flipbench import api
from flipbench.cli import main
from flipbench.errors import UserError

WRONG = [
    (["--device", "banana"], "--device banana: stages run on a CPU or a CUDA GPU; valid: auto, cpu, cuda, cuda:0"),
    (["--device", "cpu:0"], "--device cpu:0: stages run on a CPU or a CUDA GPU; did you mean 'cpu'?"),
    (["--device", "CUDA"], "--device CUDA: stages run on a CPU or a CUDA GPU; valid: "),
    (["--device", "cuda:x"], "--device cuda:x: stages run on a CPU or a CUDA GPU; did you mean 'cuda:0'?"),
    (["--device", "meta"], "--device meta: stages run on a CPU or a CUDA GPU"),
    (["--device", "mps"], "--device mps: stages run on a CPU or a CUDA GPU"),
    (["--device", ""], "--device '': stages run on a CPU or a CUDA GPU"),
    (["--device", "cuda:99"], "--device cuda:99: not usable here ("),
    (["--workers", "0"], "--workers 0: must be at least 1"),
    (["--workers", "-3"], "--workers -3: must be at least 1"),
    (["--stack", "0"], "--stack 0: expected a number above 0, auto or off"),
    (["--stack", "x"], "--stack x: expected a number above 0, auto or off"),
    (["--budget", "x"], "--budget x: expected a time such as 90m"),
    (["--stall", "nan"], "--stall nan: must be above 0"),
    (["--backend", "ray", "--device", "cuda:1"], "--device cuda:1: Ray chooses among the GPUs of a node"),
]


@pytest.mark.parametrize("left", ["all", "nothing"])
def test_options_are_checked_whatever_is_left_to_run(left, suite_file, cli, refused, tmp_path):
    path = suite_file(methods="[constant]", settings="")
    if left == "nothing":
        assert cli("run", path, "--workers", "1", "--device", "cpu")[0] == 0
    for options, said in WRONG:
        assert refused("run", path, *options).startswith(f"flipbench: {said}"), options
        assert refused("run", path, *options, "--dry-run").startswith(f"flipbench: {said}"), options
    assert (tmp_path / "results").exists() == (left == "nothing")


@pytest.mark.parametrize("options", [["--device", "cpu:0"], ["--device", "meta"], ["--workers", "0"]])
def test_a_plan_is_made_for_a_device_that_runs_have(options, suite_file, refused):
    assert refused("plan", suite_file(), *options).startswith(f"flipbench: {' '.join(options)}: ")
    assert refused("plan", suite_file(), *options, "--calibrate").startswith(f"flipbench: {' '.join(options)}: ")


def refused_by_parser(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (1, "", 1)
    return err


SHARING = ("bundle", "export", "cite")
READING = ("report", "status", "ledger", "power", "gap", "slices", "verify", *SHARING, "explain", "claims", "show")


@pytest.mark.parametrize("verb", ["run", "plan", *READING])
def test_a_results_folder_is_one(verb, suite_file, capsys, tmp_path):
    more = {"explain": ["a", "b"], "show": [], "claims": []}.get(verb, [])
    words = [verb, *(["abc"] if verb == "show" else [] if verb == "claims" else [suite_file()]), *more, "--results"]
    assert "argument --results: it is empty (" in refused_by_parser(capsys, *words, "")
    file = suite_file()
    assert f"argument --results: {file}: not a folder (" in refused_by_parser(capsys, *words, file)
    missing = tmp_path / "resutls"
    if verb in READING:  # a report of nothing would replace one that is full
        assert f"argument --results: {missing}: no such folder (" in refused_by_parser(capsys, *words, missing)
        assert not missing.exists()
    assert "File name too long" in refused_by_parser(capsys, *words, "x" * 5000)


@pytest.mark.parametrize(
    "words",
    [
        ["report", "S", "--reports", ""],
        ["bundle", "S", "--to", ""],
        ["export", "S", "--to", ""],
        ["export", "S", "--mlflow", ""],
        ["data", "import", "goodreads", "--from", ""],
    ],
)
def test_no_path_is_empty(words, suite_file, capsys):
    arguments = [suite_file() if word == "S" else word for word in words]
    assert f"argument {words[-2]}: it is empty (" in refused_by_parser(capsys, *arguments)


def test_what_a_parser_refuses_is_one_line_of_text(suite_file, capsys):
    said = refused_by_parser(capsys, "status", suite_file(), "--results", "no\nwhere\x1b[2J")
    assert r"no where\x1b[2J: no such folder" in said


def test_from_python_a_folder_has_a_name(suite_file):
    with pytest.raises(UserError, match="--results: expected a folder, got nothing"):
        api.load_suite(suite_file(), results="")
    with pytest.raises(UserError, match=r"mini\.yaml: outputs.results: expected a folder, got nothing"):
        api.load_suite(suite_file(outputs="{results: ''}"))
    with pytest.raises(UserError, match="'': no folder of results"):
        api.results("")
