"""A suite on a data set of one's own: found by path, prepared by itself, and as good as a built-in one."""

import json
import os
import random
import re
from pathlib import Path

import movielens_csv
import own_data
import pytest
from pyarrow import parquet

from flipbench.data import split, store
from flipbench.data.fetch import import_from
from flipbench.plan import suite as suites
from flipbench.store.planning import plan_of, store_of
from flipbench.text.prompt import sentences

SMALL_FLIP = "flip: {plm: small}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def raw_movielens(folder: Path) -> Path:
    """A raw folder of forty users who rate what chance says."""
    draw = random.Random(0)
    folder.mkdir()
    users = [
        f"{u}::{draw.choice('FM')}::{draw.choice([1, 18, 56])}::{draw.randrange(3)}::{u:05}\n" for u in range(1, 41)
    ]
    movies = [f"{m}::Film & Co. {m} (19{50 + m})::Drama|War\n" for m in range(1, 21)]
    pairs = draw.sample([(u, m) for u in range(1, 41) for m in range(1, 21)], 400)
    ratings = [f"{u}::{m}::{draw.randint(1, 5)}::{978_300_000 + draw.randrange(60)}\n" for u, m in pairs]
    for file, lines in {"users.dat": users, "movies.dat": movies, "ratings.dat": ratings}.items():
        (folder / file).write_text("".join(lines), encoding="latin-1")
    return folder


def write_suite(folder: Path, **lines: str) -> Path:
    whole = {
        "suite": "mini",
        "title": "A small suite",
        "methods": "[dcnv2]",
        "settings": "{max_epochs: 1, batch_size: 64}",
        "outputs": f"{{results: {folder / 'results'}, reports: {folder / 'reports'}}}",
        **lines,
    }
    path = folder / "mini.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in whole.items() if value), encoding="utf-8")
    return path


def same_predictions(results: Path, first: str, second: str) -> int:
    """How many runs of two data sets are paired, whose files of predictions have the same bytes."""

    def of(dataset: str) -> dict[str, bytes]:
        files = sorted(results.glob(f"{dataset}/*/evaluate-*/predictions.parquet"))
        return {f"{path.parts[-3]} {path.parts[-2][:11]}": path.read_bytes() for path in files}

    assert of(first) == of(second)
    return len(of(first))


def test_movielens_as_one_csv_gives_the_predictions_of_the_built_in_data_set(tmp_path, cli):
    raw = raw_movielens(tmp_path / "raw")
    import_from("movielens-1m", raw, allow_partial=True)
    movielens_csv.write_csv(raw, tmp_path / "movies.csv")
    movielens_csv.describe(tmp_path / "movies.yaml")
    path = write_suite(
        tmp_path,
        data="[movielens-1m: {users: 0.5}, movies.yaml: {users: 0.5}]",
        methods=f"[dcnv2, {SMALL_FLIP}]",
        settings="{max_epochs: 1, batch_size: 64, pretrain: {epochs: 1, batch_size: 64}}",
    )
    code, _, err = cli("run", path, "--workers", 1)
    assert code == 0, err
    assert same_predictions(tmp_path / "results", "movielens-1m", "my-movies") == 2
    a, b = store.open_table("movielens-1m"), store.open_table(str(tmp_path / "movies.yaml"))
    assert a.fingerprint != b.fingerprint, "the name is part of it, and keys differ"


DATA = os.environ.get("FLIPBENCH_DATA", "")


@pytest.mark.skipif(not (Path(DATA) / "ml-1m").is_dir(), reason="FLIPBENCH_DATA names no folder that holds ml-1m")
def test_the_real_movielens_as_one_csv_gives_the_same_predictions(tmp_path, cli):
    raw = Path(DATA, "ml-1m")
    import_from("movielens-1m", raw)
    movielens_csv.write_csv(raw, tmp_path / "movies.csv")
    movielens_csv.describe(tmp_path / "movies.yaml")
    path = write_suite(
        tmp_path,
        data="[movielens-1m: {users: 0.02}, movies.yaml: {users: 0.02}]",
        methods="[deepfm, dcnv2, flip: {plm: small}]",
        settings="{max_epochs: 1, pretrain: {epochs: 1, batch_size: 256, precision: bfloat16}}",
    )
    assert cli("run", path, "--workers", 1)[0] == 0
    assert same_predictions(tmp_path / "results", "movielens-1m", "my-movies") == 3


def test_a_suite_runs_and_reports_a_file_by_its_name(tmp_path, cli):
    own_data.write(tmp_path / "data", own_data.CSV)
    path = write_suite(
        tmp_path, data="[data/my-clicks.yaml]", methods="[dcnv2, item_mean]", compare="{reference: dcnv2}"
    )
    code, out, err = cli("plan", path)
    assert code == 0, err
    assert "my-clicks" in out
    assert "my-clicks.yaml" not in out
    assert cli("run", path, "--workers", 1)[0] == 0
    assert cli("run", path, "--workers", 1)[2].endswith(f"mini: 2 of 2 runs done in {tmp_path / 'results'}\n")
    for verb in ("status", "report", "slices", "power", "verify"):
        more = {"slices": ("--reference", "item_mean"), "report": ("--no-figures",)}.get(verb, ())
        code, out, err = cli(verb, path, *more)
        assert code == 0, (verb, err)
        assert "my-clicks" in out or verb == "verify", verb
    assert cli("explain", path, "dcnv2", "my-clicks")[0] == 0
    assert cli("plan", path, "--only", "dataset=my-clicks")[0] == 0
    page = (tmp_path / "reports/mini.md").read_text()
    assert "## my-clicks" in page
    assert "rows were resampled" not in page
    listed = json.loads(cli("list", "datasets", "--json")[1])
    assert [each["name"] for each in listed][-1] == "my-clicks"


def test_without_users_the_report_says_that_rows_were_resampled(tmp_path, cli):
    own_data.write(tmp_path, own_data.CSV, user="", fields="[item_id, {column: title, side: item}, device]")
    path = write_suite(
        tmp_path, data="[my-clicks.yaml]", methods="[dcnv2, linear, item_mean]", seeds="2", compare="{reference: dcnv2}"
    )
    assert cli("run", path, "--workers", 1)[0] == 0
    assert cli("report", path, "--no-figures")[0] == 0
    page = (tmp_path / "reports/mini.md").read_text()
    assert "No column of users is declared for my-clicks: rows were resampled there" in page
    assert "the last ninth of the training rows" in page, "known users are not known"
    (predictions, *_) = tmp_path.glob("results/my-clicks/dcnv2/evaluate-*/predictions.parquet")
    assert parquet.read_table(predictions)["group"].to_pylist() == [0, 1, 2, 3]
    assert "4 test rows" in cli("power", path)[1]


def test_a_method_that_needs_users_says_that_there_are_none(tmp_path, cli):
    own_data.write(tmp_path, own_data.CSV, user="", fields="[item_id, {column: title, side: item}, device]")
    code, _, err = cli(
        "run", write_suite(tmp_path, data="[my-clicks.yaml]", methods="[bias]", settings=""), "--workers", 1
    )
    assert code == 2, err
    assert "Bias needs a column of users, and my-clicks has none among its fields" in err


def test_methods_with_a_prompt_in_halves_read_the_context_with_the_user(tmp_path, cli):
    own_data.write(tmp_path, own_data.CSV)
    methods = "[ctr_bert: {plm: small, max_epochs: 1}, p5: {plm: small, max_epochs: 1}]"
    path = write_suite(tmp_path, data="[my-clicks.yaml]", methods=methods)
    code, _, err = cli("run", path, "--workers", 1)
    assert code == 0, err


def test_a_validation_part_that_is_given_is_what_selection_scores(tmp_path, cli):
    own_data.write(tmp_path, own_data.CSV, split="{test: 0.2, valid: 0.3}")
    path = write_suite(tmp_path, data="[my-clicks.yaml]")
    suite = suites.load(str(path))
    assert suite.selection_on(suite.data[0]) == ("given", False)
    assert cli("run", path, "--workers", 1)[0] == 0
    (metrics,) = tmp_path.glob("results/my-clicks/dcnv2/select-*/metrics.json")
    assert json.loads(metrics.read_text())["rows"] == {"train": 20, "valid": 12}
    assert cli("report", path, "--no-figures")[0] == 0
    assert "made on the validation part that the data set gives" in (tmp_path / "reports/mini.md").read_text()
    own = suites.load(str(write_suite(tmp_path, data="[my-clicks.yaml]", validation="last-ninth")))
    assert own.selection_on(own.data[0]) == ("last-ninth", False)


REFUSED = {
    "given where none is": ({}, "[my-clicks.yaml: {validation: given}]", "has no validation part of its own"),
    "given, a built-in one": ({}, "[planted-tiny: {validation: given}]", "has no validation part of its own"),
    "known users of none": (
        {"user": "", "fields": "[item_id, title]"},
        "[my-clicks.yaml: {validation: known-users}]",
        "'my-clicks' has no column of users; valid: validation: last-ninth",
    ),
    "a share of no users": (
        {"user": "", "fields": "[item_id, title]"},
        "[my-clicks.yaml: {users: 0.5}]",
        "no column of",
    ),
    "an order that it has not": (
        {},
        "[my-clicks.yaml: {order: file}]",
        "'my-clicks' has no order 'file'; valid: chrono",
    ),
    "another order of given parts": (
        {"split": "{test_from: 1030}"},
        "[my-clicks.yaml: {order: random}]",
        "'my-clicks' has no order 'random'; valid: chronological",
    ),
    "a file that is not there": ({}, "[their-clicks.yaml]", "their-clicks.yaml: no such file"),
    "a file with a mistake": (
        {"tiem": "x"},
        "[my-clicks.yaml]",
        "my-clicks.yaml: unknown key 'tiem'; did you mean 'time'",
    ),
    "a data set twice": ({}, "[my-clicks.yaml, ./my-clicks.yaml]", "data set 'my-clicks' is listed twice"),
}


@pytest.mark.parametrize(("changes", "data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_suite_cannot_have_of_a_file_is_refused(tmp_path, refused, changes, data, message):
    own_data.write(tmp_path, own_data.CSV, **changes)
    line = refused("plan", write_suite(tmp_path, data=data))
    assert message in line
    assert re.match(r"flipbench: \S+mini\.yaml: ", line)


def test_two_files_of_one_name_are_two_data_sets(tmp_path):
    """In one process, one home and one results folder."""
    plans = []
    for number, content in enumerate((own_data.CSV, own_data.CSV.replace("Title 1", "Title 7"))):
        own_data.write(tmp_path / str(number), content)
        (tmp_path / str(number) / "s").mkdir()
        suite = suites.load(str(write_suite(tmp_path / str(number) / "s", data="[../my-clicks.yaml]")))
        plans.append(plan_of(suite, store_of(suite), to_run=True))
    keys = [{stage.key for stage in plan.stages()} for plan in plans]
    assert not keys[0] & keys[1]
    titles = []
    for plan in plans:
        stage = plan.stages()[0]
        assert stage.dataset == "my-clicks"
        titles.append(store.values(store.open_table(stage.dataset, fingerprint=stage.spec["data"])).to_pylist())
    assert ["Title 7" in each for each in titles] == [False, True]


def test_finished_runs_are_reported_without_the_raw_files(tmp_path, cli):
    own_data.write(tmp_path, own_data.CSV)
    path = write_suite(tmp_path, data="[my-clicks.yaml]")
    assert cli("run", path, "--workers", 1)[0] == 0
    assert cli("report", path, "--no-figures")[0] == 0
    (tmp_path / "clicks.csv").unlink()
    assert cli("verify", path)[0] == 0
    assert "clicks.csv: no such file" in cli("run", path)[2]


def test_the_example_in_the_documentation_runs(tmp_path, cli, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/your-own-data.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w.-]+)`:\n\n```(?:csv|yaml)\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["clicks.csv", "articles.csv", "my-clicks.yaml", "mine.yaml"]
    for name, content in files:
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = re.search(r"```console\n(.*?)```", page, re.DOTALL)[1].splitlines()
    for command in commands:
        code, out, err = cli(*command.split()[1:])
        assert code == 0, (command, out, err)
    table = store.open_table("my-clicks.yaml")
    (prompt,) = sentences(table, table.ids[:1])
    told = re.search(r"first row as `(.*?)`", page, re.DOTALL)[1]
    assert prompt == " ".join(told.split())
    assert split.sizes(table) == (13, 10)
