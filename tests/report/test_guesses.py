"""Who says what a row is set to: the tags of the method files, as run, in every form of a report."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

from flipbench.cli import main
from flipbench.plan import registry
from flipbench.report.collect import collect
from flipbench.report.html.page import to_html
from flipbench.report.settings import settings_of
from flipbench.report.write import table_files

CITATION = re.compile(r"\([A-Z][^()]*(et al\.| and [A-Z])[^()]*(\b20\d\d\b|arXiv \d{4}\.\d{5})")


@pytest.mark.parametrize("name", registry.names())
def test_every_methods_file_names_its_paper(name):
    module, _, cls = registry.get(name).target.partition(":")
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
    own = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls)
    assert CITATION.search(f"{ast.get_docstring(tree)} {ast.get_docstring(own)}")


def provenances(plan, row):
    (cell,) = (c for c in plan.cells if c.method.label == row)
    return {used.name: used.provenance for used in settings_of(cell)}


def test_provenance_is_of_the_value_as_run(stored):
    rows = (
        "[dcnv2, plain: {method: dcnv2, embedding_l2: 0.0, cross_layers: 2},"
        " flip: {plm: small}, released: {method: flip, flavour: released}]"
    )
    plan, _ = stored({}, methods=rows)
    assert {n for n, s in provenances(plan, "dcnv2").items() if s == "guess"} == set(registry.get("dcnv2").guesses)
    plain = provenances(plan, "plain")
    assert plain["embedding_l2"] == "guess", "another value of what nobody states"
    assert "overridden" not in provenances(plan, "dcnv2").values()
    assert [n for n, s in provenances(plan, "flip").items() if s == "overridden"] == ["plm"]
    released = provenances(plan, "released")
    assert released["pretrain.learning_rate"] == "code"
    assert "overridden" not in released.values()


def test_searched_is_not_overridden(stored):
    plan, _ = stored({}, methods="[deepfm]", tune="{budget: 3}")
    used = provenances(plan, "deepfm")
    assert (used["learning_rate"], used["dropout"], used["embedding_l2"]) == ("searched", "searched", "guess")
    assert used["hidden"] == "paper"


def test_every_format_counts_them_by_row(stored, tmp_path, capsys):
    rows = "[deepfm, dcnv2, plain: {method: dcnv2, patience: 7}]"
    plan, store = stored(dict.fromkeys(("deepfm", "dcnv2", "plain"), 1.0), methods=rows)
    results = collect(plan, store)
    assert results.unstated["plain"].overridden == ("patience",)
    one, two = (len(registry.get(name).guesses) for name in ("deepfm", "dcnv2"))
    said = [
        f"Settings that neither the paper nor released code states: {one} of DeepFM; {two} of DCNv2, plain.",
        "Stated, but set otherwise here: 1 of plain.",
    ]
    files = {name: text.decode() for name, text in table_files(results).items()}
    assert main(["report", str(tmp_path / "mini.yaml"), "--no-figures"]) == 0
    for text in (files["mini.md"], files["mini.tex"], to_html(plan, store, results), capsys.readouterr().out):
        assert all(sentence in " ".join(text.split()) for sentence in said)
    shared = ["embedding_l2", "decay", "max_epochs", "oov"]
    assert json.loads(files["mini.json"])["unstated_settings"] == {
        "deepfm": {"guesses": shared, "overridden": []},
        "dcnv2": {"guesses": [*shared, "cross_layers"], "overridden": []},
        "plain": {"guesses": [*shared, "cross_layers"], "overridden": ["patience"]},
    }


def test_explain_lists_them_with_their_reasons(stored, tmp_path, capsys):
    stored({"plain": 1.0}, methods="[plain: {method: dcnv2, patience: 7}]")
    assert main(["explain", str(tmp_path / "mini.yaml"), "plain", "movielens-1m"]) == 0
    blocks = {block.split("\n")[0]: block for block in capsys.readouterr().out.split("\n\n")}
    guesses = blocks["settings that neither the paper nor released code states"]
    for name, setting in registry.get("dcnv2").settings.items():
        assert (re.search(rf"^{name}\s", guesses, re.M) is not None) == (setting.source == "guess")
        assert setting.source != "guess" or f"guess: {setting.where}" in guesses
    overridden = blocks["settings that are stated, and that the suite sets otherwise"]
    assert re.search(r"^patience +7 +3 +code: ", overridden, re.M)
