"""Suites and named settings with their text changed: a plan or one line that names the file, never more than 2 s.

How many, and how to run one again: :mod:`fuzzing`.
"""

import random
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from fuzzing import CASES, COUNT, case

from flipbench.data import store
from flipbench.plan import named_settings, suite

SUITES = {path.name: path.read_text(encoding="utf-8") for path in suite.available()}
SETTINGS = {path.name: path.read_text(encoding="utf-8") for path in named_settings.SHIPPED.glob("*.yaml")}
WITH_SETTINGS = [
    "suite: mini\ntitle: Mini\ndata: [planted-tiny, goodreads]\nsettings: {}\nmethods: [dcnv2, afm]\n",
    "suite: mini\ntitle: Mini\ndata: [planted-tiny]\nmethods: [xdeepfm: {{settings: {}}}, afm]\n",
]

BOMB = "&a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{inner}'] * 9)}]\n" for inner, name in pairwise("abcdefghij")
)

ATOMS = [
    *("", "~", "null", "true", "no", "on", "0", "-1", "1", "7", "1000", "1001", "1000000", "1000000000", "1e9", "-0.0"),
    *(".nan", ".inf", "-.INF", "1e999", "1e-320", "0.5", "1e300", "010", "0o17", "0x1F", "0x_", "1_000", "1:30"),
    *(
        "2001-99-99",
        "2026-01-31",
        "2026-01-31T25:61:61Z",
        "9" * 19,
        "9" * 5_000,
        "0." + "0" * 5_000 + "1",
        "1" + "0" * 400,
    ),
    *(
        "!!int abc",
        "!!float x",
        "!!bool maybe",
        "!!null 1",
        "!!str 3",
        "!!binary YQ==",
        "!!set {a, b}",
        "!!omap [a: 1]",
    ),
    *("!!timestamp x", "!!python/object/apply:os.system [ls]", "!own a", "!!seq {a: b}", "!!map [a]", "!<tag:x> 1"),
    *(
        "{{ name }}",
        "{[a]: 1}",
        "{{a: b}: c}",
        "? [a]\n: b",
        "{1: 2}",
        "{~: 2}",
        "{a: 1, a: 2}",
        "{'': 1}",
        "{<<: {a: 1}}",
    ),
    *("[]", "{}", "[[]]", "[{}]", "[[[a]]]", "[~]", "[1.5]", "[true]", "[-1]", "[0]", "[65537]", "[8, 8]", "['8']"),
    *("&x [*x]", "&x {a: *x}", "*nobody", "&x &y a", "[&x a, *x, &x b, *x]", BOMB, "[" * 3_000, "{a: " * 3_000),
    *(
        "[" * 3_000 + "]" * 3_000,
        "- " * 3_000,
        "{a: " * 60 + "1" + "}" * 60,
        "[" + "a, " * 5_000 + "]",
        "[1, " * 40 + "]" * 40,
    ),
    *(
        "~nosuchuser",
        "~nosuchuser/plm",
        "~",
        "/",
        "/dev/zero",
        "/dev/tty",
        ".",
        "..",
        "/etc/passwd",
        "a/../../b",
        "'a\\0b'",
    ),
    *(
        '"a\\0b"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\U00110000"',
        '"\\e[31m"',
        '"a\\nb"',
        '"a\\tb"',
        '"\\u202e"',
        "'\u200b'",
    ),
    *(
        "\x1b[31m",
        "\0",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ud83d".encode("utf-8", "surrogatepass").decode("latin-1"),
        "é",
        "北京",
    ),
    *(
        "a" * 5_000,
        "'" + "a" * 5_000 + "'",
        "a/" * 2_500,
        "a." * 2_500 + "b",
        '"' + "é" * 300 + '"',
        "a.b",
        "pretrain.epochs",
    ),
    *("small", "x@main", "x/y@" + "0" * 40, "#" + "0" * 64, "/tmp#" + "0" * 64, "@", 'x@"', "dcnv2", "flip", "ptab"),
    *(
        "[red]m",
        "[/]",
        "$(ls)",
        "%n",
        "{0}",
        "| \n  a\n  b",
        ">\n  a",
        "@a",
        "`a`",
        "'",
        '"',
        "# a",
        "%YAML 1.1",
        "--- a",
        "...",
    ),
    *("{pretrain: 1}", "{pretrain: {}}", "{pretrain: {epochs: {a: 1}}}", "{pretrain.epochs: 1, pretrain: {epochs: 2}}"),
    *(
        "{budget: 1000000000}",
        "{budget: 4, round: 1000000000}",
        "{search: tpe, budget: 9}",
        "{search: grid, budget: 9}",
    ),
    *("{a: {a: {a: 1}}}", "{.a: 1}", "{a.: 1}", "{..: 1}", "{hidden: true}", "{hidden: .nan}", "{learning_rate: .inf}"),
]
"""What stands in place of a value, a key or a piece of text: what an attack found, and its like."""

NUMBERS = [
    *("1", "2", "3", "4", "8", "010", "16", "64", "0x10", "0.5", ".25", "1e-3", "1E-4", "0.0", "1000", "-1", "1:30")
]
"""What may well be meant by a number."""

TOKENS = [
    *":,[]{}'\"#&*!|>%@`-?~.=\t \n\r\0",
    "\n\n",
    "\n  ",
    "\n    - ",
    ": ",
    "- ",
    "{{",
    "}}",
    "<<: ",
    "\n---\n",
    "é",
    "\x1b",
]

OURS = re.compile(
    r"input should be a valid|valid (boolean|integer|string|dictionary|number)|pydantic|validator|\w+Error\b|"
    r"Traceback|object has no|NoneType|function-|<class|site-packages|frame #|\.bool|\.dict\["
)
"""Words that speak of our code in place of the user's file."""


@dataclass(frozen=True)
class Case:
    """A suite's file as it is planned, and the file that was changed: the suite itself or its named settings."""

    suite: Path
    changed: Path


def spoilt(text: str, draw: random.Random) -> str:
    """The text with a few places changed: parts of the YAML tree as it was, or characters."""
    if draw.random() < 0.3:
        number = draw.choice(list(re.finditer(r"(?<=[ \[])[\d.][\d.e-]*(?=[,\]}\n])", text)))
        return text[: number.start()] + draw.choice(NUMBERS) + text[number.end() :]
    nodes = nodes_of(yaml.compose(text, Loader=yaml.SafeLoader))
    spans = [(node.start_mark.index, node.end_mark.index) for node in nodes]
    kept = text
    for start, end in sorted(draw.sample(spans, draw.choice([1, 1, 1, 2, 3])), reverse=True):
        change, other = draw.randrange(10), draw.choice(spans)
        if change < 6:
            kept = kept[:start] + draw.choice(ATOMS) + kept[end:]
        elif change == 6:
            kept = kept[:start] + text[slice(*other)] + kept[end:]
        elif change == 7:
            kept = kept[:end] + draw.choice(["", ", "]) + kept[start:end] * draw.choice([1, 1, 500]) + kept[end:]
        elif change == 8:
            kept = kept[:start] + kept[end:]
        else:
            kept = kept[:start] + f"{draw.choice(ATOMS)}: {draw.choice(ATOMS)}\n" + kept[start:]
    for _ in range(draw.choice([0, 0, 0, 0, 1, 3])):
        at = draw.randint(0, len(kept))
        kept = kept[:at] + draw.choice([*TOKENS, draw.choice(ATOMS)]) + kept[at + draw.choice([0, 0, 1, 5]) :]
    return kept[: draw.randint(0, len(kept))] if draw.random() < 0.03 else kept


def nodes_of(node: yaml.Node) -> list[yaml.Node]:
    """A node and all within, keys among them."""
    if isinstance(node, yaml.MappingNode):
        return [node, *(n for pair in node.value for part in pair for n in nodes_of(part))]
    if isinstance(node, yaml.SequenceNode):
        return [node, *(n for part in node.value for n in nodes_of(part))]
    return [node]


def write_case(number: int, folder: Path) -> Case:
    """The files of a case."""
    draw = random.Random(number)
    if draw.random() < 0.15:
        name = draw.choice(sorted(SETTINGS))
        path = folder / "mini.yaml"
        path.write_text(draw.choice(WITH_SETTINGS).format(name), encoding="utf-8")
        changed, text = folder / name, SETTINGS[name]
    else:
        name = draw.choice(sorted(SUITES))
        path = changed = folder / name
        text = SUITES[name]
    content = spoilt(text, draw).encode("utf-8", "surrogatepass")
    if draw.random() < 0.02:
        at = draw.randint(0, len(content))
        content = (
            content[:at] + draw.choice([draw.randbytes(3), content * 20, b"\xff\xfe", b"\xed\xa0\x80"]) + content[at:]
        )
    changed.write_bytes(content)
    return Case(path, changed)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with no results in it; every data set counts as known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "known_fingerprint", lambda name: "f" * 64)
    monkeypatch.setattr(suite, "MOST_RUNS", 2_000)  # the time of more is work, and no hang
    return tmp_path


def test_changed_suites_are_planned_or_refused_in_one_line(folder, cli):
    planned = 0
    for number in CASES:
        files = write_case(number, folder)
        with case(f"{number}, {files.changed.name}"):
            code, out, err = cli("plan", files.suite)
            assert code in (0, 1), err
            if code:
                check_line(err, files)
                assert not out
            else:
                planned += 1
        assert {path.name for path in folder.iterdir()} == {files.suite.name, files.changed.name}, "planning writes"
        files.suite.unlink()
        files.changed.unlink(missing_ok=True)
    assert COUNT < 100 or 0.1 * COUNT < planned < 0.9 * COUNT, "cases of both kinds"


def check_line(err: str, files: Case) -> None:
    """A refusal is one line that names the file, then a line or what stands in it."""
    line = err.removesuffix("\n")
    assert line.isprintable(), line
    assert len(line) < 1_000, line
    assert not OURS.search(line), line
    assert re.match(
        rf"flipbench: {re.escape(str(files.suite))}(:\d+)?: .|flipbench: .*{files.changed.name}(:\d+)?: .", line
    ), line
