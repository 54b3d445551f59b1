"""Named sets of settings: the shipped one against what its source states, and what is refused."""

import subprocess
import sys

import pytest

from flipbench.errors import UserError
from flipbench.plan import named_settings, registry
from flipbench.plan.expand import resolve
from flipbench.plan.suite import Suite

TEXT = """
settings: mine
source: a paper
training: {learning_rate: 1e-3}
methods:
  dcnv2:
    settings: {cross_layers: 2, hidden: [8, 8]}
    goodreads: {hidden: [16]}
"""


@pytest.fixture
def written(tmp_path):
    """Writes a set named ``mine``, with a replacement in its text; returns its path."""

    def write(old="", new=""):
        assert old in TEXT
        path = tmp_path / "mine.yaml"
        path.write_text(TEXT.replace(old, new) if old else TEXT, encoding="utf-8")
        return str(path)

    return write


def test_a_data_sets_settings_stand_before_those_of_all(written):
    mine = named_settings.load(written())
    assert mine.of("dcnv2", "goodreads") == {"learning_rate": 1e-3, "cross_layers": 2, "hidden": [16]}
    assert mine.of("dcnv2", "bookcrossing") == {"learning_rate": 1e-3, "cross_layers": 2, "hidden": [8, 8]}


@pytest.mark.parametrize(
    ("method", "dataset", "expected"),
    [  # utils.py of the source
        ("dcnv2", "movielens-1m", {"embedding_dim": 32, "cross_layers": 6, "hidden": [256] * 6}),
        ("dcnv2", "bookcrossing", {"embedding_dim": 32, "cross_layers": 6, "hidden": [256] * 6}),
        ("dcnv2", "amazon-toys", {"embedding_dim": 16, "cross_layers": 3, "hidden": [256] * 3}),
        ("dcnv2", "goodreads", {"embedding_dim": 16, "cross_layers": 6, "hidden": [512] * 6}),
        ("dcn", "movielens-1m", {"embedding_dim": 32, "cross_layers": 4, "hidden": [256] * 4}),
        ("deepfm", "bookcrossing", {"embedding_dim": 32, "hidden": [256] * 4}),
        ("xdeepfm", "goodreads-4m", {"embedding_dim": 16, "cin": [25] * 3, "hidden": [256] * 6}),
        ("autoint", "goodreads", {"embedding_dim": 16, "attention_layers": 6, "heads": 1, "attention_dim": 32}),
        ("pnn", "planted-small", {"embedding_dim": 32, "hidden": [256] * 6, "learning_rate": 1e-3, "patience": 3}),
    ],
)
def test_clickprompts_code(method, dataset, expected):
    found = named_settings.load("clickprompt-code").of(method, dataset)
    assert found.items() >= {**expected, "embedding_l2": 0.0, "max_epochs": 10}.items()
    assert "batch_size" not in found, "the source gives none"


def test_a_rows_set_stands_over_the_suites_settings(written):
    mine = written()
    loaded = Suite.model_validate(
        {
            "suite": "mine",
            "title": "Mine",
            "data": ["planted-tiny"],
            "settings": {"learning_rate": 0.1, "max_epochs": 30, "hidden": [4]},
            "methods": [{"dcnv2": {"settings": mine, "cross_layers": 5}}, {"plain": {"method": "dcnv2"}}],
        }
    )
    of_set, plain = (loaded.settings_of(row, loaded.data[0]) for row in loaded.methods)
    assert of_set == {"learning_rate": 1e-3, "max_epochs": 30, "hidden": [8, 8], "cross_layers": 5}
    assert plain == {"learning_rate": 0.1, "max_epochs": 30, "hidden": [4]}


@pytest.mark.parametrize("name", named_settings.available())
def test_shipped_sets_give_settings_as_a_suite_does(name):
    named = named_settings.load(name)
    for method, by_data in named.methods.items():
        for settings in by_data.values():
            resolved = resolve(registry.get(method), settings)
            assert {key: resolved[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("dcnv2:", "dcnv3:", "methods: unknown model 'dcnv3'; did you mean 'dcnv2'"),
        ("goodreads", "goodread", "methods: unknown data set 'goodread'; did you mean 'goodreads'"),
        ("cross_layers", "cross_layer", "methods: dcnv2: unknown setting 'cross_layer'; did you mean 'cross_layers'"),
        (
            "[16]",
            "[-1]",
            "methods: dcnv2.goodreads: hidden: expected up to 64 whole numbers from 1 to 65536, got [-1]",
        ),
        ("1e-3", "fast", "methods: dcnv2: learning_rate: expected a number, got 'fast'"),
        ("cross_layers: 2", "batch_norm: true, batch_size: 1", "methods: dcnv2: batch_size: 1 is below 2"),
        ("source: a paper\n", "", "source: field required"),
        ("source", "sauce", "source: field required"),
        ("{learning_rate: 1e-3}", "[1]", "training: expected a mapping, got [1]"),
        ("settings: mine", "settings: yours", "settings: 'yours' differs from the file's name 'mine'"),
        (TEXT, "[]", "the file: expected a mapping, got []"),
        ("1e-3", "1:30", "methods: dcnv2: learning_rate: expected a number, got '1:30'"),
        ("[8, 8]", "true", "methods: dcnv2: hidden: expected a list of numbers, got true"),
        ("2,", f"{10**17},", f"methods: dcnv2: cross_layers: {10**17} is not between 1 and 64"),
        ("dcnv2:", f"{'d' * 200}:", f"methods: unknown model '{'d' * 79}…'"),
        ("cross_layers", "c" * 200, f"methods: dcnv2: unknown setting '{'c' * 79}…'"),
        ("a paper", "[a]", "source: expected text, got ['a']"),
        ("{hidden: [16]}", "1", "methods.dcnv2.goodreads: expected a mapping, got 1"),
    ],
)
def test_mistakes_are_one_line_with_the_place(written, old, new, problem):
    path = written(old, new)
    with pytest.raises(UserError) as raised:
        named_settings.load(path)
    assert str(raised.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("a paper", "{{ name }}", "3: a key is a mapping"),
        ("1e-3", ".nan", "4: .nan is no finite number"),
        ("[16]", "!!int abc", "8: '!!int' does not fit"),
        ("[16]", f"[{'9' * 5000}]", f"8: the number {'9' * 23}… is beyond 1e+18"),
        ("[16]", "[" * 3000, "8: nested more than 50 levels deep"),
        ("[8, 8]", "&x [*x]", "7: an alias stands for what it is a part of"),
        ("a paper", '"\\0"', "3: text with the character U+0000"),
    ],
)
def test_its_yaml_is_a_suites(written, old, new, problem):
    path = written(old, new)
    with pytest.raises(UserError) as raised:
        named_settings.load(path)
    assert str(raised.value).startswith(f"{path}:{problem}")


def test_a_set_is_read_again_once_its_file_has_changed(written):
    assert named_settings.load(written()).of("dcnv2", "goodreads")["hidden"] == [16]
    assert named_settings.load(written("[16]", "[4]")).of("dcnv2", "goodreads")["hidden"] == [4]


def test_what_there_is_not():
    with pytest.raises(UserError, match="unknown settings 'clickprompt'; did you mean 'clickprompt-code'"):
        named_settings.load("clickprompt")
    named = named_settings.load("clickprompt-code")
    for method, dataset, problem in (
        ("afm", "movielens-1m", "clickprompt-code: has no settings for 'afm'; it has: pnn, deepfm"),
        ("dcnv3", "movielens-1m", "unknown model 'dcnv3'"),
        ("dcnv2", "movielens", "unknown data set 'movielens'; did you mean 'movielens-1m'"),
    ):
        with pytest.raises(UserError, match=problem):
            named.of(method, dataset)


def test_it_reads_no_torch():
    code = "import sys; from flipbench.plan import named_settings as n; n.load('clickprompt-code')"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
