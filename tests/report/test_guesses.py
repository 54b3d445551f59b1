"""Who says what a row is set to: the tags of the method files, as run, in every form of a report."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from flipbench.cli import main
from flipbench.plan import registry, suite
from flipbench.report.collect import collect
from flipbench.report.html import to_html
from flipbench.report.settings import settings_of
from flipbench.report.write import render
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

CITATION = re.compile(r"\([A-Z][^()]*(et al\.| and [A-Z])[^()]*(\b20\d\d\b|arXiv \d{4}\.\d{5})")


@pytest.mark.parametrize("name", registry.names())
def test_every_methods_file_names_its_paper(name):
    module, _, cls = registry.get(name).target.partition(":")
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
    own = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls)
    assert CITATION.search(f"{ast.get_docstring(tree)} {ast.get_docstring(own)}")


@pytest.fixture
def stored(suite_file, stored_runs):
    def make(rows, **changes):
        path = suite_file(data="[movielens-1m]", methods=rows, settings="", **changes)
        found = suite.load(str(path))
        store = Store(Path(found.outputs.results))
        plan = plan_of(found, store)
        stored_runs(plan, store, dict.fromkeys((m.label for m in found.methods), 1.0))
        return path, plan, store

    return make


def standings(plan, row):
    (cell,) = (c for c in plan.cells if c.method.label == row)
    return {used.name: used.standing for used in settings_of(cell)}


def test_the_standing_of_a_value_is_of_the_value_as_run(stored):
    rows = (
        "[dcnv2, plain: {method: dcnv2, embedding_l2: 0.0, cross_layers: 2},"
        " flip: {plm: small}, released: {method: flip, flavour: released}]"
    )
    _, plan, _ = stored(rows)
    assert {n for n, s in standings(plan, "dcnv2").items() if s == "guess"} == set(registry.get("dcnv2").guesses)
    plain = standings(plan, "plain")
    assert plain["embedding_l2"] == "guess", "another value of what nobody states"
    assert "otherwise" not in standings(plan, "dcnv2").values()
    assert [n for n, s in standings(plan, "flip").items() if s == "otherwise"] == ["plm"]
    released = standings(plan, "released")
    assert released["pretrain.learning_rate"] == "code"
    assert "otherwise" not in released.values()


def test_what_a_search_chose_is_no_departure_but_a_guess_stays_one(suite_file):
    found = suite.load(str(suite_file(data="[movielens-1m]", methods="[deepfm]", tune="{budget: 3}", settings="")))
    plan = plan_of(found, Store(Path(found.outputs.results)))
    own = standings(plan, "deepfm")
    assert (own["learning_rate"], own["dropout"], own["embedding_l2"]) == ("searched", "searched", "guess")
    assert own["hidden"] == "paper"


def test_every_form_of_the_report_counts_them_by_row(stored, capsys):
    path, plan, store = stored("[deepfm, dcnv2, plain: {method: dcnv2, patience: 7}]")
    results = collect(plan, store)
    assert results.unstated["plain"].otherwise == ("patience",)
    one, two = (len(registry.get(name).guesses) for name in ("deepfm", "dcnv2"))
    said = [
        f"Settings that neither the paper nor released code states: {one} of DeepFM; {two} of DCNv2, plain.",
        "Stated, but set otherwise here: 1 of plain.",
    ]
    files = render(results)
    assert main(["report", str(path), "--no-figures"]) == 0
    for text in (files["mini.md"], files["mini.tex"], to_html(plan, store, results), capsys.readouterr().out):
        assert all(sentence in " ".join(text.split()) for sentence in said)
    assert json.loads(files["mini.json"])["unstated_settings"] == {
        "deepfm": {"guesses": ["embedding_l2"], "otherwise": []},
        "dcnv2": {"guesses": ["embedding_l2", "cross_layers"], "otherwise": []},
        "plain": {"guesses": ["embedding_l2", "cross_layers"], "otherwise": ["patience"]},
    }


def test_explain_lists_them_with_their_reasons(stored, capsys):
    path, _, _ = stored("[plain: {method: dcnv2, patience: 7}]")
    capsys.readouterr()
    assert main(["explain", str(path), "plain", "movielens-1m"]) == 0
    blocks = {block.split("\n")[0]: block for block in capsys.readouterr().out.split("\n\n")}
    guesses = blocks["settings that neither the paper nor released code states"]
    for name, setting in registry.get("dcnv2").settings.items():
        assert (re.search(rf"^{name}\s", guesses, re.M) is not None) == (setting.source == "guess")
        assert setting.source != "guess" or f"guess: {setting.where}" in guesses
    otherwise = blocks["settings that are stated, and that the suite sets otherwise"]
    assert re.search(r"^patience +7 +3 +code: ", otherwise, re.M)
