"""BibTeX: an entry of everything that a table uses, right as far as this repository can tell."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import flipbench
from flipbench import api
from flipbench.data import dataset
from flipbench.paper import citations, others
from flipbench.plan import registry, suite
from flipbench.report.cite import bibliography
from flipbench.text import source

ROOT = Path(__file__).parents[2]
BUILT_IN = [name for name in registry.names() if registry.get(name).target.startswith(("flipbench.", "baselines."))]
PLAIN = str.maketrans("", "", "{}\\")


def keys_of(text):
    return re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)


def field(entry, name):
    return re.search(rf"^  {name} = \{{(.*)\}},$", entry, re.MULTILINE)[1]


def test_every_built_in_thing_has_an_entry_and_every_entry_is_used():
    pretrainings = {registry.get(name).pretraining for name in BUILT_IN} - {""}
    assert citations.METHODS.keys() == {*BUILT_IN, *pretrainings}
    assert citations.DATASETS.keys() == set(dataset.names())
    assert citations.PUBLISHED.keys() == others._load().keys()
    given = [citations.METHODS, citations.DATASETS, citations.PLMS, citations.PUBLISHED]
    used = {key for keys in given for each in keys.values() for key in each}
    assert used == citations.entries().keys()
    nothing = {name for keys in given for name, each in keys.items() if not each}
    assert nothing == {"item_mean", "planted-tiny", "planted-small", "planted-rare"}


@pytest.mark.parametrize("entry", citations.entries().values(), ids=citations.entries())
def test_an_entry_is_whole(entry):
    """Braces match, and what BibTeX's plain style asks of its kind is there, each field on a line of its own."""
    depths = [entry[:at].count("{") - entry[:at].count("}") for at in range(len(entry) + 1)]
    assert min(depths[1:-1]) >= 0
    assert depths[-1] == 0
    kind = re.match(r"@(\w+)", entry)[1]
    venue = {"inproceedings": "booktitle", "article": "journal", "misc": "eprint"}[kind]
    assert all(field(entry, name) for name in ("title", "author", venue))
    assert re.fullmatch(r"(19|20)\d\d", year := field(entry, "year"))
    assert re.match(r"@\w+\{[a-z]+" + year, entry), "a key ends in year and a word"
    assert entry.isascii()
    assert not re.search(r"(?<!\\)[&%$#_]", entry)


def test_all_of_the_file_is_entries():
    text = Path(citations.__file__).with_name("citations.bib").read_text("utf-8")
    assert keys_of(text) == list(citations.entries())


def test_a_data_sets_prose_names_what_its_entry_does():
    for name, keys in citations.DATASETS.items():
        for key in keys[:1]:
            title, said = field(citations.entries()[key], "title").translate(PLAIN), dataset.get(name).citation
            assert title.lower().split(" and fine-grained")[0] in said.lower()
            assert field(citations.entries()[key], "year") in said


def test_a_methods_docstring_names_its_source():
    """First author and year, as in ``(Xiao et al., IJCAI 2017, eq. 3-6)``, where it names one."""
    named = 0
    for name in BUILT_IN:
        if said := re.search(r"\((\w+) et al\., [^)]*?(\d{4})", registry.get(name).summary):
            (key,) = citations.METHODS[name]
            entry = citations.entries()[key]
            assert field(entry, "author").startswith(said[1]), name
            preprint = name == "ctrl" or name.startswith("alt") or name == "ptab"  # the docstring gives another version
            assert preprint or field(entry, "year") == said[2], name
            named += 1
    assert named > 15


def test_flipbenchs_own_entry_is_its_citation_file():
    stated = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    title = field(citations.FLIPBENCH, "title").translate(PLAIN)
    assert title.lower() == stated["title"].lower()
    assert field(citations.FLIPBENCH, "version") == stated["version"] == flipbench.__version__
    assert stated["authors"][0]["name"] in citations.FLIPBENCH
    paper = citations.entries()[citations.PAPER]
    assert field(paper, "title").translate(PLAIN) == stated["references"][0]["title"]
    people = [f"{who['family-names']}, {who['given-names']}" for who in stated["references"][0]["authors"]]
    assert field(paper, "author") == " and ".join(people)


@pytest.mark.parametrize("path", suite.available(), ids=lambda path: path.stem)
def test_every_suite_can_be_cited(path):
    cited = bibliography(suite.load(str(path)))
    assert cited.unknown == ()
    found = keys_of(cited.bibtex)
    assert found[:2] == ["flipbench", citations.PAPER]
    assert len(found) == len(set(found))


def test_a_table_cites_data_methods_backbones_pretrainings_plms_and_others(cli):
    code, out, err = cli("cite", "table2", "--only", "dataset=goodreads", "--only", "model=ptab,p5,flip,autoint")
    assert (code, err) == (0, "")
    expected = ["flipbench", "wang2024flip", "wan2018item", "wan2019spoiler", "song2019autoint"]
    plms = ["jiao2020tinybert", "raffel2020t5", "devlin2019bert", "liu2022ptab", "geng2022p5", "wang2021dcnv2"]
    assert sorted(keys_of(out)) == sorted([*expected, *plms])
    assert "zhao2021recbole" in api.cite(api.load_suite("split_leak")).bibtex, "numbers that others publish"
    assert "roberta" in api.cite(api.load_suite("table5")).bibtex
    assert "roberta" not in api.cite(api.load_suite("table3")).bibtex


def test_what_is_switched_off_is_not_cited(suite_file):
    flip = "flip: {plm: small, backbone: deepfm, pretrain: {mlm: false, mtm: false, icl: false}}"
    found = keys_of(api.cite(api.load_suite(suite_file(methods=f"[{flip}]", settings="{}"))).bibtex)
    assert found == ["flipbench", "wang2024flip", "guo2017deepfm"]


def test_what_is_the_users_own_is_named(suite_file, cli, monkeypatch):
    monkeypatch.setattr(source, "_is_folder", lambda folder: True)
    monkeypatch.setattr(citations, "METHODS", {})
    monkeypatch.setattr("flipbench.report.cite.METHODS", {"flip": ("wang2024flip",), "dcnv2": (), "pretraining": ()})
    path = suite_file(methods="[deepfm, flip: {plm: models/mine}]", settings="{}")
    code, _, err = cli("cite", path)
    assert code == 0
    assert err.splitlines() == [
        "model 'deepfm': no source is known here; cite it yourself",
        "PLM 'mine': no source is known here; cite it yourself",
    ]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("A & B, 100 % ours.", "@misc{my-clicks,\n  title = {My clicks},\n  note = {A \\& B, 100 \\% ours.},\n}"),
        ("@misc{clicks,\n  title = {C},\n}", "@misc{clicks,\n  title = {C},\n}"),
        ("", None),
    ],
)
def test_a_data_set_of_ones_own_is_cited_by_what_it_says(suite_file, monkeypatch, said, expected):
    own = replace(dataset.get("planted-tiny"), name="my-clicks", title="My clicks", citation=said)
    known = dataset.get
    monkeypatch.setattr(dataset, "get", lambda name: own if name == "my-clicks" else known(name))
    loaded = api.load_suite(suite_file())
    entry = loaded.data[0].model_copy(update={"name": "my-clicks"})
    cited = bibliography(loaded.model_copy(update={"data": [entry]}))
    assert (f"\n\n{expected}\n\n" in cited.bibtex) == (expected is not None)
    assert cited.unknown == (() if expected else ("data set 'my-clicks'",))
