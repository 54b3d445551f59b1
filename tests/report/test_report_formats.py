"""What the formats print, byte for byte, and that LaTeX accepts it.

After an intended change: ``UPDATE_GOLDEN=1 pytest tests/report``, then read the difference.
"""

import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from flipbench.atomic import write_files
from flipbench.errors import UserError
from flipbench.report.cells import SuiteResults
from flipbench.report.latex import escape, to_latex
from flipbench.report.markdown import to_markdown
from flipbench.report.table import ResultTable, overall_table
from flipbench.report.terminal import print_table
from flipbench.report.write import table_files, to_json

GOLDEN = Path(__file__).parent / "golden"


def to_text(table: ResultTable, width: int = 100, encoding: str = "utf-8", **options) -> str:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding, newline=""), width=width, highlight=False, **options)
    print_table(table, console)
    console.file.flush()
    return raw.getvalue().decode(encoding)


RENDER = {".txt": to_text, ".md": to_markdown, ".tex": to_latex, ".json": to_json}


@pytest.mark.parametrize("suffix", RENDER)
@pytest.mark.parametrize("suite", ["several", "special"])
def test_golden(suite: str, suffix: str, request: pytest.FixtureRequest) -> None:
    results = request.getfixturevalue(suite)
    text = RENDER[suffix](overall_table(results))
    assert text == RENDER[suffix](overall_table(results))
    path = GOLDEN / f"{suite}{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode()
    assert "\r" not in text
    assert not re.search(r"[ \t]+$", text, re.MULTILINE)


def test_plain_text_fits_100_columns(several: SuiteResults) -> None:
    *lines, last = to_text(overall_table(several)).splitlines()
    assert max(map(len, lines)) <= 100
    assert last.startswith("flipbench:")  # the signature stays one line, to be copied


@pytest.mark.parametrize("width", [20, 79])
def test_a_narrow_terminal_cuts_no_number(several: SuiteResults, width: int) -> None:
    table = overall_table(several)
    text = to_text(table, width)
    for row in table.rows:
        assert all(cell.text in text for cell in row.cells)
    assert "…" not in text


@pytest.mark.parametrize("suffix", RENDER)
def test_data_sets_without_runs_are_only_named(several: SuiteResults, suffix: str) -> None:
    text = " ".join(RENDER[suffix](overall_table(several)).split())
    assert "Not run here: BookCrossing, GoodReads." in text
    assert text.count("BookCrossing") == 1
    nothing = RENDER[suffix](overall_table(replace(several, cells=())))
    assert "Not run here" not in nothing
    assert all(name.lower() in nothing.lower() for name in ("BookCrossing", "GoodReads", "planted-tiny", "my"))


@pytest.mark.parametrize("suffix", [".txt", ".md"])
def test_a_section_has_the_rows_that_have_anything_there(several: SuiteResults, suffix: str) -> None:
    first, second = RENDER[suffix](overall_table(several)).split("planted-tiny\n")
    assert all(name in first for name in ("AFM", "CTRL", "my_model"))
    assert all(name in second for name in ("PNN", "DeepFM", "DCNv2"))
    assert not any(name in second for name in ("AFM", "CTRL", "my_model", "PLM-based"))


def test_only_a_terminal_gets_colours(several: SuiteResults, monkeypatch: pytest.MonkeyPatch) -> None:
    table = overall_table(several)
    colour = to_text(table, force_terminal=True, color_system="truecolor")
    assert "\x1b[1;32m0.8550\x1b[0m ± 0.0010" in colour
    assert "\x1b[4m0.8531\x1b[0m" in colour
    assert "\x1b[31m" in colour  # failed
    monkeypatch.setenv("NO_COLOR", "1")
    plain = to_text(table, force_terminal=True, color_system="truecolor")
    assert plain == to_text(table) == (GOLDEN / "several.txt").read_bytes().decode()
    assert "\x1b" not in plain


def test_an_ascii_console_gets_ascii(several: SuiteResults) -> None:
    text = to_text(overall_table(several), encoding="ascii")  # would raise on any other character
    assert "0.8550* +/- 0.0010" in text


def test_markup_in_a_name_is_printed_as_it_is(special: SuiteResults) -> None:
    assert "[bold]*x* | <y>" in to_text(overall_table(special))
    assert r"\[bold\]\*x\* \| \<y>" in to_markdown(overall_table(special))


def test_markdown_has_one_cell_a_column(special: SuiteResults, several: SuiteResults) -> None:
    for results in (special, several):
        for table in to_markdown(overall_table(results)).split("\n\n"):
            rows = [re.findall(r"(?<!\\)\|", line) for line in table.splitlines() if line.startswith("|")]
            assert len({len(bars) for bars in rows}) <= 1


def test_json_is_tidy(several: SuiteResults) -> None:
    table = overall_table(several)
    data = json.loads(to_json(table))
    assert len(data["cells"]) == len(list(table.rows)) * len(table.columns)
    by_place = {(c["method"], c["dataset"], c["metric"], c["source"]): c for c in data["cells"]}
    best = by_place["deepfm", "movielens-1m", "logloss", "ours"]
    assert best["value"] == pytest.approx(0.389)
    assert (best["text"], best["mark"], best["sd"], best["status"]) == ("0.3890", "best", 0.0, "complete")
    assert best["runs"] == [f"deepfm-movielens-1m-{seed}" for seed in range(3)]


@pytest.mark.parametrize(
    ("raw", "escaped"),
    [
        ("a_b & 5% #1 $x$ {y}", r"a\_b \& 5\% \#1 \$x\$ \{y\}"),
        ("\\", r"\textbackslash{}"),
        ("^~|<>", r"\textasciicircum{}\textasciitilde{}\textbar{}\textless{}\textgreater{}"),
        ("a\n\n% b", r"a \% b"),
        ("[x]*", "{[}x{]}{*}"),
        ("λ=β, 1−x ≤ µ²", r"$\lambda$=$\beta$, 1$-$x $\le$ $\mu$$^{2}$"),
        ("Α“ο”’ H₂ … 3·4°", r"A``o''' H$_{2}$ $\ldots$ 3$\cdot$4$^{\circ}$"),
        ("Ame\u0301lie \x1b[0m", r"Amélie \textbackslash{}x1b{[}0m"),
    ],
)
def test_latex_escapes(raw: str, escaped: str) -> None:
    assert escape(raw) == escaped


def test_every_greek_letter_has_a_command() -> None:
    letters = [chr(code) for code in (*range(0x391, 0x3AA), *range(0x3B1, 0x3CA)) if code != 0x3A2]
    assert all(escape(letter).isascii() for letter in letters)
    assert len({escape(letter) for letter in letters}) == len(letters)


@pytest.mark.parametrize(
    ("title", "missing"), [("λ ≤ β: Žižek’s Müller, Łódź", ""), ("中文 on Đ", "Đ中文"), ("Книга ą", "ąКагин")]
)
def test_latex_names_the_engine_that_has_the_other_letters(several: SuiteResults, title: str, missing: str) -> None:
    packages, second, *_ = to_latex(overall_table(replace(several, title=title))).splitlines()
    assert packages.startswith("% packages: ")
    engine = f"% engine: XeLaTeX or LuaLaTeX, and a font that has {missing}"
    assert second == engine if missing else not second.startswith("% engine")


@pytest.mark.parametrize("title", ["Letters λβγΔ of ≤ ≥ − ± · … ° ² “quotes” ’s", "Žižek, Müller, Łódź, Čapek, ß ¡¿"])
def test_latex_compiles_letters_and_signs(several: SuiteResults, title: str, latex_log) -> None:
    assert "Missing character" not in latex_log(to_latex(overall_table(replace(several, title=title))))


@pytest.mark.parametrize("suite", ["several", "special"])
def test_latex_compiles(suite: str, latex_log, request: pytest.FixtureRequest) -> None:
    log = latex_log(to_latex(overall_table(request.getfixturevalue(suite))))
    assert not re.search("Overfull|Missing character", log)


def test_the_files_of_a_table_are_replaced_not_rewritten(several: SuiteResults, tmp_path: Path) -> None:
    folder, files = tmp_path / "reports" / "new", table_files(several)
    paths = write_files(folder, files, "the report")
    assert [path.name for path in paths] == ["several.md", "several.tex", "several.json"]
    for path in paths:
        assert path.read_bytes() == (GOLDEN / path.name).read_bytes()
    before = {path: path.stat().st_ino for path in paths}
    write_files(folder, files, "the report")
    assert {path: path.stat().st_ino for path in paths} != before
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    several: SuiteResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old, *_) = write_files(tmp_path, table_files(several), "the report")
    content = old.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        write_files(tmp_path, table_files(replace(several, title="New")), "the report")
    assert old.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_in_the_place_of_the_folder(several: SuiteResults, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("x")
    with pytest.raises(UserError, match="reports: the report cannot be written"):
        write_files(tmp_path / "reports", table_files(several), "the report")


def test_a_new_title_shows_in_every_format(several: SuiteResults) -> None:
    table = overall_table(replace(several, title="Another"))
    assert all("Another" in render(table) for render in RENDER.values())
