"""The HTML report: sound markup, nothing from outside, and every number with its evidence."""

import base64
import hashlib
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from flipbench.cli import main
from flipbench.plan.settings import flatten
from flipbench.report.figures import figure_files
from flipbench.report.html.page import to_html
from flipbench.report.so_far import results_so_far as results_of
from flipbench.report.table import overall_table

ROOT = Path(__file__).parents[2]
ROWS = "[deepfm, dcnv2, afn, autoint, {flip: {plm: small}}]"
STRENGTH = {"deepfm": 0.8, "dcnv2": 0.9, "afn": 0.7, "flip": 1.6}


class Node:
    def __init__(self, name, attributes, parent):
        self.name, self.attributes, self.parent, self.children = name, attributes, parent, []

    def __getitem__(self, attribute):
        return self.attributes[attribute]

    def find(self, name=None, **attributes):
        """Elements inside, in document order."""
        wanted = {k.rstrip("_").replace("_", "-"): v for k, v in attributes.items()}
        for child in self.children:
            if isinstance(child, Node):
                own = child.attributes
                if name in (None, child.name) and all(v in (own.get(k) or "").split(" ") for k, v in wanted.items()):
                    yield child
                yield from child.find(name, **attributes)

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.text for c in self.children)


class Tree(HTMLParser):
    """A strict reader: each element is closed, in order, and no attribute occurs twice."""

    def __init__(self, text):
        super().__init__()
        self.root = self.at = Node("", {}, None)
        self.feed(text)
        self.close()
        assert self.at is self.root, f"{self.at.name} is not closed"

    def handle_starttag(self, name, attributes):
        assert len(dict(attributes)) == len(attributes)
        node = Node(name, dict(attributes), self.at)
        self.at.children.append(node)
        if name not in ("img", "meta"):
            self.at = node

    def handle_endtag(self, name):
        assert self.at.name == name, f"</{name}> ends {self.at.name}"
        self.at = self.at.parent

    def handle_data(self, text):
        self.at.children.append(text)


@pytest.fixture
def page(stored):
    """A suite of five rows, one failed and one not run; returns its plan, store and results."""

    def make(strength=STRENGTH, fail=False, **changes):
        options = {"methods": ROWS, "seeds": "2", "paper": "table2", "compare": "{reference: flip, alpha: 0.01}"}
        plan, store = stored(strength, **options | changes)
        if fail:
            (stage,) = [c.evaluations[1] for c in plan.cells if c.method.label == "afn"]
            shutil.rmtree(store.folder(stage))
            store.fail(stage, "the loss is not finite", "", {})
        return results_of(plan.suite)

    return make


def sound(page):
    """What must hold of every page."""
    root = Tree(page).root
    every = list(root.find())
    ids = Counter(e["id"] for e in every if "id" in e.attributes)
    assert ids
    assert max(ids.values()) == 1
    for e in every:
        assert not [a for a in e.attributes if a.startswith("on") or a == "style"], "the policy would refuse it"
        for name in ("aria-labelledby", "for"):
            assert e.attributes.get(name, next(iter(ids))) in ids
        if "href" in e.attributes:
            assert e["href"].startswith("#")
            assert e["href"][1:] in ids
        if "src" in e.attributes:
            assert e["src"].startswith("data:image/png;base64,")
        if e.name == "img":
            assert len(e["alt"]) > 20
            assert int(e["width"]) > 100
        if e.name == "th":
            assert e["scope"] in ("col", "row", "colgroup", "rowgroup")
            assert e.text
        assert e.name not in ("link", "iframe", "object", "base", "form")
    levels = [int(e.name[1]) for e in every if re.fullmatch("h[1-6]", e.name)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert [e.name for e in every if e.name in ("header", "nav", "main", "footer", "dialog")][:2] == ["header", "nav"]
    (policy,) = [e["content"] for e in root.find("meta", http_equiv="Content-Security-Policy")]
    for name in ("style", "script"):
        (element,) = root.find(name)
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not re.search(r"url\(|@import|https?:", next(root.find("style")).text + next(root.find("script")).text)
    return root


def test_a_page_is_sound_and_its_table_is_the_one_table(page):
    plan, store, results = page(fail=True)
    root = sound(to_html(plan, store, results))
    table = overall_table(results)
    (own,) = [t for t in root.find("table", class_="results") if t.parent["aria-label"].endswith("MovieLens-1M")]
    rows = [r for r in own.find("tr") if r.attributes.get("class") != "group" and list(r.find("td"))]
    expected = list(table.rows)
    assert [next(r.find("th")).children[0] for r in rows] == [row.label for row in expected]
    columns = table.columns_of("movielens-1m")
    for shown, row in zip(rows, expected, strict=True):
        for td, cell in zip(shown.find("td"), (row.cells[i] for i in columns), strict=True):
            assert td.text.startswith(cell.text)
            assert td.attributes.get("data-value") == (None if cell.value is None else repr(cell.value))
            assert ("significantly better" in td.text) == cell.starred
            assert ("best baseline" in td.text) == cell.best_baseline
            assert [m for m in ("best", "second") if list(td.find(class_=m))] == [cell.mark] * (cell.mark is not None)
            assert ("(best" in td.text.replace("(best baseline", "")) == (cell.mark == "best")
            assert (cell.spread or "") in td.text
    assert len(list(root.find("table", class_="results"))) == 1
    assert "Not run here: BookCrossing, GoodReads." in [li.text for li in root.find("li")]


def test_every_cell_that_ran_opens_its_evidence(page):
    plan, store, results = page(fail=True)
    root = sound(to_html(plan, store, results))
    for cell in plan.cells:
        place = f"-{cell.method.label}-movielens-1m"
        links = [a for a in root.find("a", class_="evidence") if a["href"].endswith(place)]
        if cell.method.label == "autoint":
            assert not links, "nothing was run"
            continue
        assert len({a["href"] for a in links}) == 1
        assert [a.attributes.get("tabindex") for a in links] == [None] + ["-1"] * (len(links) - 1)
        assert len(links) == {"flip": 4, "afn": 5}.get(cell.method.label, 7)
        (content,) = root.find(id=links[0]["href"][1:])
        assert content.parent.name == "details"
        for stage in cell.evaluations:
            where = f"movielens-1m/{stage.method}/evaluate-s{stage.seed}-{stage.key[:12]}"
            assert (where in content.text) == store.done(stage)
        for setting in flatten(cell.settings):
            assert setting in content.text
    assert "the loss is not finite" in root.text
    assert str(store.root) not in root.text, "where the results lie is the machine's"


def test_tests_are_those_behind_the_stars(page):
    plan, store, results = page()
    root = sound(to_html(plan, store, results))
    (content,) = [e for e in root.find("div") if e.attributes.get("data-title", "").startswith("DeepFM")]
    (against,) = [c.difference for c in results.comparisons if (c.against, c.metric) == ("deepfm", "auc")]
    assert against.adjusted is not None
    row = next(r for r in content.find("tr") if r.text.startswith("FLIP − DeepFM" + "AUC"))
    cells = [td.text for td in row.find("td")]
    assert cells[1] == f"{against.value:+.4f}".replace("-", "−")
    assert cells[4] == ("< 0.0001" if against.adjusted < 1e-4 else f"{against.adjusted:.2g}")


def test_settings_are_grouped_by_provenance(page):
    plan, store, results = page(methods="[{deepfm: {embedding_dim: 16, dropout: 0.25}}]", compare="{}")
    root = sound(to_html(plan, store, results))
    groups = {}
    (table,) = [t for t in root.find("table") if t.parent["aria-label"] == "Settings"]
    for body in table.find("tbody"):
        heading, *rows = body.find("tr")
        groups[heading.text] = {next(r.find("th")).text: [td.text for td in r.find("td")] for r in rows}
    assert groups["Stated, and set otherwise here"]["embedding_dim"][:2] == ["16", "32"]
    assert groups["Stated, and set otherwise here"]["dropout"][:2] == ["0.25", "0"]
    assert groups["Neither the paper nor released code states it"]["embedding_l2"][1] == "same"
    assert groups["As released code states"]["batch_norm"][:2] == ["off", "same"]
    assert groups["As the paper states"]["hidden"][:2] == ["300-300-128", "same"]


def test_names_in_a_suite_are_text(page):
    evil = "</script><script>alert(1)</script>"
    one, two = (f"<img src=x onerror=alert({i})>" for i in (1, 2))
    plan, store, results = page(
        {one: 0.5, two: 1.0},
        title=f"'{evil}'",
        methods=f"[{{'{one}': {{method: deepfm}}}}, {{'{two}': {{method: dcnv2}}}}]",
        compare=f"{{reference: '{one}'}}",
        paper="",
        seeds="1",
    )
    root = sound(to_html(plan, store, results))
    assert not list(root.find("img"))
    assert len(list(root.find("script"))) == 1
    assert next(root.find("h1")).text == evil
    assert two in [next(r.find("th")).children[0] for r in root.find("tr")]


def test_results_elsewhere_give_the_same_bytes(page, tmp_path):
    plan, store, results = page()
    one = to_html(plan, store, results)
    moved = tmp_path / "elsewhere" / "r"
    shutil.copytree(store.root, moved)
    found = plan.suite.model_copy(update={"outputs": plan.suite.outputs.model_copy(update={"results": str(moved)})})
    assert to_html(*results_of(found)) == one


def test_claims_of_the_table_with_their_verdicts(page):
    plan, store, results = page()
    claims = list(sound(to_html(plan, store, results)).find("details", class_="claim"))
    told = {c.text.partition(".")[0]: next(c.find(class_="outcome")).text for c in claims}
    assert len(told) == 9
    assert told["not runFLIP_ID beats every ID-based baseline"] == "not run"
    assert told["inconclusiveFLIP beats every baseline in AUC and logloss on each of the three data sets"]


def test_without_a_paper_there_are_no_claims(page):
    plan, store, results = page(paper="", methods="[deepfm, dcnv2]", compare="{}")
    root = sound(to_html(plan, store, results))
    assert [a.text for a in next(root.find("nav")).find("a")] == ["Results", "Evidence"]
    (table,) = root.find("table", class_="results")
    assert [th.text for th in next(table.find("thead")).find("th")] == ["Model", "AUC", "Logloss"]


def test_figures_are_inside_with_their_numbers(page):
    plan, store, results = page()
    files = figure_files(plan, store)
    figures = list(sound(to_html(plan, store, results, files)).find("figure"))
    pictures = [name for name in files if name.endswith(".png")]
    assert len(figures) == len(pictures) == 3
    for figure, name in zip(figures, pictures, strict=True):
        source = next(figure.find("img"))["src"].partition(",")[2]
        assert base64.b64decode(source) == files[name]
        assert len(list(figure.find("tr"))) == len(files[name.replace(".png", ".csv")].splitlines())


def luminance(colour):
    """WCAG 2.2's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_stands_out_in_both_schemes():
    css = files("flipbench.report.html").joinpath("style.css").read_text("utf-8")
    palettes = [dict(re.findall(r"--(\w+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)]
    assert len(palettes) == 2
    assert palettes[0].keys() == palettes[1].keys()
    assert luminance(palettes[0]["page"]) > 0.9
    assert luminance(palettes[1]["page"]) < 0.02
    for palette in palettes:
        grounds = {name: palette.pop(name) for name in ("page", "raised", "line")}
        for name, ink in palette.items():
            for ground in grounds.values() if name == "accent" else (grounds["page"], grounds["raised"]):
                light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, f"{name} {ink} on {ground}"


@pytest.mark.skipif(not (ROOT / "results" / "movielens-1m").is_dir(), reason="the committed results are not here")
def test_a_page_of_committed_runs_is_complete(tmp_path, capsys):
    options = ["--results", str(ROOT / "results"), "--reports", str(tmp_path)]
    assert main(["report", str(ROOT / "suites" / "last_ninth.yaml"), *options]) == 0
    assert f"wrote {tmp_path / 'last_ninth.html'}" in capsys.readouterr().err
    page = (tmp_path / "last_ninth.html").read_bytes()
    assert len(page) < 2_000_000
    root = sound(page.decode())
    assert len(list(root.find("details", class_="cell"))) == 9
    assert "0.8613" in root.text
