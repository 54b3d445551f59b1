"""Titles, labels and reasons of failures are text: neither markup nor commands to a terminal, on one line."""

import io
import json
import re

import pytest
from rich.console import Console

from flipbench import printable
from flipbench.api import Failed, Finished, Note, Planned, Started
from flipbench.cli import main
from flipbench.cli.display import Display
from flipbench.plan import suite
from flipbench.plan.stage import Stage
from flipbench.report.stems import stem_of
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

LABELS = [
    "[/]",
    "[red]m",
    "[/some/path]",
    "[link=https://x.org]a",
    ":boom:",
    "$a$ $b",
    r"\x",
]
TITLE = "One [b]line[/b] of $text$"
REASON = "ValueError: [/] [red]m\n\x1b]0;owned\x07 \x9b31m \u202eback\u2028\udcff"
"""Suites cannot hold control characters; what a stage dies of can."""
COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture
def hostile(suite_file, stored_runs, own_home):
    """A suite whose rows are called :data:`LABELS`, with made-up runs of all but the last, which has failed."""
    rows = [{label: {"method": "afm", "dropout": index / 100}} for index, label in enumerate(LABELS)]
    path = suite_file(
        title=json.dumps(TITLE), methods=json.dumps(rows), settings="", compare=f"{{reference: '{LABELS[0]}'}}"
    )
    mini = suite.load(str(path))
    store = Store(path.parent / "results")
    plan = plan_of(mini, store)
    stored_runs(plan, store, dict.fromkeys(LABELS[:-1], 0.5))
    for stage in plan.cells[-1].evaluations:
        store.fail(stage, REASON, "Traceback:\n  [/]\x1b", {})
    return path


@pytest.mark.parametrize(
    "line", ["plan S", "status S", "report S --no-figures", "gap S", "power S", "explain S [red]m planted-tiny"]
)
def test_labels_titles_and_reasons_are_printed_as_they_are(line, hostile, cli):
    arguments = [hostile if word == "S" else word for word in line.split()]
    code, out, err = cli(*arguments)
    assert (code, COMMANDS.findall(out + err)) == (0, [])
    if line in ("status S", "gap S"):
        assert all(label in out for label in LABELS[:-1])
    elif line.startswith(("report", "explain", "power")):
        assert "[red]m" in out
    if line == "status S":
        assert r"ValueError: [/] [red]m \x1b]0;owned\x07 \x9b31m \u202eback \udcff" in out
    assert COMMANDS.findall(cli(*arguments, "--json")[1]) == []


def test_json_says_the_same_to_a_reader(hostile, cli):
    document = json.loads(cli("report", hostile, "--no-figures", "--json")[1])
    assert document["title"] == TITLE
    assert {cell["method"] for cell in document["cells"]} >= set(LABELS)


def test_files_of_a_report_hold_no_commands(hostile, cli):
    assert cli("report", hostile)[0] == cli("verify", hostile)[0] == 0
    folder = hostile.parent / "reports"
    for path in folder.glob("mini.*"):
        assert COMMANDS.findall(path.read_text("utf-8")) == [], path.name
    assert [path.name for path in folder.iterdir() if not re.fullmatch(r"[\w.-]+", path.name)] == []


def test_a_record_of_a_failure_is_shown_line_by_line(hostile, cli):
    (record,) = hostile.parent.glob("results/*/*/*.failed.json")
    key = json.loads(cli("plan", hostile, "--json")[1])["stages"][-1]["key"]
    code, out, _ = cli("show", key, "--results", record.parents[2])
    assert (code, COMMANDS.findall(out)) == (0, [])
    assert "    detail\n      Traceback:\n        [/]\\x1b\n" in out


def test_a_mistake_in_hostile_words_is_one_line(suite_file, refused):
    assert "text with the character U+001B in it" in refused("plan", suite_file(methods=json.dumps(["a\x1b[2J"])))
    said = refused("plan", suite_file(), "--only", "model=a\nb\x1b[2J")
    assert r"has no 'a b\x1b[2J'" in said


def test_a_live_display_shows_them_as_they_are(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=200, highlight=False, color_system=None)
    monkeypatch.setattr("flipbench.cli.display.Console", lambda **_: console)
    stages = [Stage("select", {"dataset": "[/]", "method": "[red]m", "seed": i, "role": "select"}) for i in range(2)]
    with Display() as display:
        display(Planned("[/b] a\nb", tuple(stages), {}, 1))
        display(Started(0, stages[0]))
        display.live.refresh()
        display(Failed(0, stages[0], "[/some/path]\x1b]0;owned\x07\nnext"))
        display(Finished(0, stages[1], {"auc": 0.5, "logloss": 0.7}, 1.0))
        display(Note("[/]"))
    text = screen.getvalue()
    assert "[/b] a b" in text
    assert "select [/] [red]m s0" in text
    assert r"FAILED: [/some/path]\x1b]0;owned\x07 next" in text
    assert "\x1b]" not in text


def test_names_of_files_hold_nothing_that_others_read_as_their_own():
    assert stem_of("s-cost-movielens-1m@1.5%-of-users", ()) == "s-cost-movielens-1m_1.5-percent-of-users"
    assert stem_of("s-alignment-deepfm/flip-planted-tiny", ()) == "s-alignment-deepfm_flip-planted-tiny"
    assert stem_of("s-alignment-a b\n$(x)-d", ()) == "s-alignment-a-b-x--d"
    assert stem_of("s-a&b", {"s-a-b", "s-a-b-2"}) == "s-a-b-3"


def test_dollars_in_a_figure_are_no_formula():
    from matplotlib.figure import Figure

    from flipbench.report.figures.style import plain

    for label in LABELS:
        drawn = Figure().text(0, 0, plain(label))
        assert drawn._preprocess_math(drawn.get_text()) == (label, False)


def test_a_report_of_a_narrow_terminal_needs_no_markup(hostile, monkeypatch, capsys):
    """As on a terminal, where rich prints straight to it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["status", str(hostile)]) == 0
    assert "[red]m" in capsys.readouterr().out


def test_signs_of_tables_have_likes_in_ascii():
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="backslashreplace")
    assert printable.in_ascii(UnicodeEncodeError("ascii", "a ± λ—", 2, 6, "")) == (r"+/- \u03bb-", 6)
    assert stream.encoding == "ascii"
