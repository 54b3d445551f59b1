"""A suite file: what it may say, and how a mistake in it is reported."""

import math
import time

import pytest

from flipbench import yamlfile
from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import named_settings, registry, suite
from flipbench.plan.settings import check_value, flatten


def expand(path):
    return plan.expand(suite.load(str(path)), {"planted-tiny": "f"}, lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sseeds": "3"}, r"mini\.yaml: unknown key 'sseeds'; did you mean 'seeds'\?"),
        ({"seeds": "-1"}, r"seeds: input should be greater than or equal to 1 \(got -1\)"),
        ({"seeds": "two"}, "seeds: expected a whole number, got 'two'"),
        ({"seeds": "2.0"}, r"seeds: expected a whole number, got 2\.0"),
        ({"methods": "[deepfn]"}, r"unknown model 'deepfn'; did you mean 'deepfm'\?"),
        ({"methods": "[]"}, "methods: expected at least one, got none"),
        ({"methods": "[dcnv2, dcnv2]"}, "method 'dcnv2' is listed twice"),
        ({"methods": "[dcnv2: {droput: 0.1}]"}, r"dcnv2: unknown setting 'droput'; did you mean 'dropout'\?"),
        ({"data": "[movielens-2m]"}, r"unknown data set 'movielens-2m'; did you mean 'movielens-1m'\?"),
        ({"data": "[planted-tiny: {ordr: random}]"}, r"unknown key 'data\.0\.ordr'; did you mean 'order'\?"),
        ({"data": "[planted-tiny: {order: sorted}]"}, r"data\.0\.order: input should be 'chronological', 'random', "),
        ({"data": "[planted-tiny: {order: file}]"}, "'planted-tiny' has no order 'file'; valid: chronological, random"),
        ({"data": "[bookcrossing]"}, "'bookcrossing' has no order 'chronological'; valid: file, shuffled, user"),
        ({"protocol": "heldout"}, "protocol: input should be 'held-out' or 'as-released'"),
        ({"compare": "{reference: flip}"}, "compare.reference 'flip' is no row; valid: dcnv2"),
        ({"compare": "{alpha: 2}"}, r"compare\.alpha: input should be less than 1"),
        ({"compare": "{margins: {auc: 1}}"}, r"unknown key 'compare\.margins'; did you mean 'margin'\?"),
        ({"tune": "{budget: 0}"}, r"tune\.budget: input should be greater"),
        ({"title": ""}, "key 'title' is missing"),
        ({"suite": "other"}, "suite: 'other' differs from the file's name 'mini'"),
        ({"suite": "Mini/../x"}, "suite: string should match pattern"),
        ({"seeds": "1000000"}, r"seeds: input should be less than or equal to 1000 \(got 1000000\)"),
        ({"tune": "{budget: 1000000000}"}, r"tune\.budget: input should be less than or equal to 1000 "),
        ({"tune": "{budget: 4, round: 1000000000}"}, r"tune\.round: input should be less than or equal to 1000 "),
        ({"seeds": "1:30"}, "seeds: expected a whole number, got '1:30'"),
        ({"seeds": "0x_"}, "seeds: expected a whole number, got '0x_'"),
        ({"seeds": "2001-99-99"}, "seeds: expected a whole number, got '2001-99-99'"),
        ({"seeds": "true"}, "seeds: expected a whole number, got true"),
        ({"seeds": "null"}, "seeds: expected a whole number, got nothing"),
        ({"seeds": "[1]"}, r"seeds: expected a whole number, got \[1\]"),
        ({"seeds": "!!int abc"}, r"mini\.yaml:\d+: '!!int' does not fit"),
        ({"title": "{{ name }}"}, r"mini\.yaml:2: a key is a mapping"),
        ({"title": "[a]"}, r"title: expected text, got \['a'\]"),
        ({"title": "10"}, "title: expected text, got 10"),
        ({"refit": "yes"}, "refit: expected true or false, got 'yes'"),
        ({"compare": "{alpha: .nan}"}, r"mini\.yaml:\d+: \.nan is no finite number"),
        ({"compare": "{margin: {auc: .inf}}"}, r"mini\.yaml:\d+: \.inf is no finite number"),
        ({"compare": "[]"}, r"compare: expected a mapping, got \[\]"),
        ({"data": "[]"}, "data: expected at least one, got none"),
        ({"data": "planted-tiny"}, "data: expected a list, got 'planted-tiny'"),
        ({"data": "[planted-tiny: 3]"}, r"data: 'planted-tiny': expected a mapping, got 3"),
        ({"data": f"[{'a' * 5000}]"}, r"data\.0\.name: expected one line of 1 to 200 printable characters, got 'a+…"),
        ({"data": r'["planted\ntiny"]'}, r"data\.0\.name: expected one line of 1 to 200 printable characters"),
        ({"methods": f"[{'a' * 5000}]"}, r"methods\.a+….label: expected one line of 1 to 200"),
        ({"methods": "[dcnv2: [8]]"}, r"methods: 'dcnv2': expected a mapping, got \[8\]"),
        ({"methods": "['': {method: dcnv2}]"}, r"methods\..label: expected one line of 1 to 200"),
        ({"methods": "[dcnv2: {hidden: {a: 1}}]"}, r"dcnv2: unknown setting 'hidden\.a'"),
        (
            {"methods": "[dcnv2: {hidden: [8, null]}]"},
            r"methods\.dcnv2: hidden: expected a number, text, true, false or",
        ),
        ({"methods": "[dcnv2: {hidden: {a: 1}, hidden.a: 2}]"}, r"methods\.dcnv2: 'hidden\.a' is set twice"),
        (
            {"methods": "[flip: {pretrain: 1, pretrain.epochs: 2}]"},
            r"flip: 'pretrain' has a value, and 'pretrain.epochs'",
        ),
        ({"methods": f"[flip: {{{'a.' * 60}b: {{{'b.' * 60}c: 1}}}}]"}, "no setting has a name as long as 'a.a"),
        ({"methods": "[dcnv2: {settings: [a]}]"}, r"methods\.dcnv2\.settings: expected text, got \['a'\]"),
        ({"methods": "[dcnv2: {settings: ~nosuchuser/a.yaml}]"}, "~nosuchuser/a.yaml: no such file"),
        ({"settings": "/dev/zero"}, "/dev/zero: is no file"),
        ({"settings": "a" * 5000}, "unknown settings 'a+…'"),
        ({"settings": "[1]"}, r"settings: expected a mapping, or the name of a set of settings, got \[1\]"),
        ({"outputs": "{results: ''}"}, r"outputs\.results: expected a folder, got nothing"),
        ({"outputs": f"{{results: {'a' * 300}}}"}, r"outputs\.results: 'a+…' is no name that a folder can have"),
        ({"paper": "tabel2"}, "paper: no result table 'tabel2'; did you mean 'table2'"),
        ({"unequal": "{oov: [a]}"}, r"unequal\.oov: expected text, got \['a'\]"),
    ],
)
def test_a_mistake_in_a_suite_is_one_clear_line(suite_file, changes, words):
    with pytest.raises(UserError, match=words) as error:
        suite.load(str(suite_file(**changes)))
    assert str(error.value).isprintable()
    assert "mini.yaml" in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("methods", "settings", "words"),
    [
        ("[dcnv2]", "{learning_rate: fast}", "dcnv2: learning_rate: expected a number, got 'fast'"),
        ("[dcnv2]", "{learning_rate: 0}", "learning_rate: 0.0 is not between"),
        ("[dcnv2]", "{dropout: 1.5}", "dropout: 1.5 is not between 0 and 0.999"),
        ("[dcnv2]", "{batch_size: 2.5}", "batch_size: expected a whole number, got 2.5"),
        ("[dcnv2]", "{batch_norm: 1}", "batch_norm: expected true or false, got 1"),
        ("[dcnv2]", "{hidden: []}", "hidden: expected up to 64 whole numbers"),
        ("[autoint: {heads: 3}]", "{}", "autoint: heads: 3 does not divide embedding_dim 32; nearest: 2"),
        ("[dcnv2, autoint]", "{heads: 40}", "autoint: heads: 40 does not divide embedding_dim 32; nearest: 32"),
        ("[mine: {method: autoint, heads: 5}]", "{embedding_dim: 12}", "mine: heads: 5 does not .* nearest: 4"),
        ("[xdeepfm: {cin: [8, 7, 5]}]", "{}", "xdeepfm: cin: 7 cannot be split in half .* nearest: 8"),
        ("[deepfm]", "{batch_norm: true, batch_size: 1}", "deepfm: batch_size: 1 is below 2: .*; nearest: 2"),
        ("[afn]", "{batch_size: 1}", "afn: batch_size: 1 is below 2: batch_norm .*; nearest: 2"),
        ("[flip: {pretrain: {batch_size: 1}}]", "{plm: small}", r"flip: pretrain\.batch_size: 1 is .*; nearest: 2"),
        ("[flip: {pretrain: {epochs: 0}}]", "{plm: small}", r"flip: pretrain\.epochs: 0 is not between 1"),
        ("[flip: {flavour: papre}]", "{plm: small}", "flip: unknown flavour 'papre'; did you mean 'paper'"),
        ("[ctrl: {pretrain: {icl_parts: 5}}]", "{plm: small}", r"pretrain\.icl_parts: 5 does not divide .* nearest: 4"),
        ("[ctrl]", "{plm: small, pretrain: {icl_similarity: maxx}}", "unknown 'maxx'; did you mean 'max'"),
        ("[ctr_bert]", "{plm: small, precision: float16}", "precision: unknown 'float16'; did you mean 'bfloat16'"),
        ("[ptab: {pretrain: {decay: none}}]", "{plm: small}", "pretrain.decay: unknown 'none'; did you mean 'cosine'"),
        ("[clickprompt: {fusion: weighed}]", "{plm: small}", "fusion: unknown 'weighed'; did you mean 'weighted'"),
        ("[dcnv2]", "{hidden: true}", "hidden: expected a list of numbers, got true"),
        ("[dcnv2]", "{hidden: [100000000000000000]}", "hidden: expected up to 64 whole numbers from 1 to 65536"),
        (f"[dcnv2: {{hidden: {[8] * 65}}}]", "{}", "hidden: expected up to 64 whole numbers from 1 to 65536"),
        ("[dcnv2]", "{batch_size: 1:30}", "batch_size: expected a whole number, got '1:30'"),
        ("[ctr_bert]", "{plm: ~nosuchuser}", "PLM '~nosuchuser': no such folder; valid: a folder"),
        ("[ctr_bert]", "{plm: ~nosuchuser/x}", "PLM '~nosuchuser/x': no such folder; valid: a folder"),
        ("[ctr_bert]", f"{{plm: {'a' * 5000}}}", "PLM 'a+…': no such folder"),
        ("[ctr_bert]", f"{{plm: {'a/' * 2500}}}", "PLM '[a/]+…': no such folder"),
        ("[flip_id: {backbone: ptab}]", "{plm: small}", "flip_id: backbone: 'ptab' is no ID-based model; valid: afm, "),
    ],
)
def test_a_setting_that_is_no_good_is_refused_when_planned(suite_file, methods, settings, words):
    path = suite_file(methods=methods, settings=settings)
    with pytest.raises(UserError, match=words) as error:
        expand(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("methods", "name"),
    [
        ("[ctr_bert: {backbone: dcnv2}]", "backbone"),
        ("[ptab: {pretrain: {mlm: false}}]", "pretrain.mlm"),
        ("[clickprompt_id: {pooling: cls}]", "pooling"),
    ],
)
def test_a_setting_of_other_methods_is_unknown(suite_file, methods, name):
    with pytest.raises(UserError, match=rf"mini\.yaml: \w+: unknown setting '{name}'"):
        suite.load(str(suite_file(methods=methods, settings="{plm: small}")))


def test_settings_that_go_together_are_planned(suite_file):
    rows = "[autoint: {heads: 4}, xdeepfm: {cin: [7, 4], split_half: false}, odd: {method: xdeepfm, cin: [8, 7]}, afm]"
    assert len(expand(suite_file(methods=rows, settings="{batch_size: 1}")).cells) == 4


@pytest.mark.parametrize("how", ["grid", "sobol", "tpe"])
def test_search_skips_invalid_points(suite_file, how):
    tune = f"{{search: {how}, budget: 40, round: 40}}"
    (cell,) = expand(
        suite_file(methods="[autoint: {embedding_dim: 20, attention_dim: 0}]", settings="{}", tune=tune)
    ).cells
    assert {point["heads"] for point in cell.search.points} == {2, 4}, "8 does not divide 20"
    assert len(cell.trials) == 40


def test_seeds_are_decimal(suite_file):
    assert suite.load(str(suite_file(seeds="010"))).seeds == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": "1000", "methods": f"[{', '.join(f'r{i}: {{method: dcnv2}}' for i in range(11))}]"}, "11,000 runs"),
        (
            {"methods": f"[{', '.join(f'r{i}: {{method: dcnv2}}' for i in range(11))}]", "tune": "{budget: 1000}"},
            "11,011",
        ),
        (
            {"data": f"[{', '.join(['planted-tiny'] * 101)}]", "methods": f"[{', '.join(['dcnv2'] * 100)}]"},
            "10,100 runs",
        ),
    ],
)
def test_more_runs_than_can_be_planned_are_refused_at_once(suite_file, changes, words):
    path = suite_file(**changes)
    started = time.process_time()
    with pytest.raises(UserError, match=rf"mini\.yaml: seeds: .* are {words}.*; at most 10,000"):
        suite.load(str(path))
    assert time.process_time() - started < 1


def test_options_are_bounded_as_a_suite_is(suite_file):
    loaded = suite.load(str(suite_file(methods=f"[{', '.join(f'r{i}: {{method: dcnv2}}' for i in range(11))}]")))
    for seeds, words in ((1_001, "--seeds 1001: must be at most 1000"), (0, "--seeds 0: must be at least 1")):
        with pytest.raises(UserError, match=words):
            plan.with_options(loaded, seeds, None, None)
    with pytest.raises(UserError, match=r"seeds: 1000 seeds of 11 cells are 11,000 runs"):
        plan.narrow(plan.with_options(loaded, 1_000, None, None), [])
    assert len(plan.narrow(plan.with_options(loaded, 1_000, None, None), ["model=r1"]).methods) == 1
    for folder in ("", " ", "a\0b", "\ud800", "a" * 256, "a/" * 501):
        with pytest.raises(UserError, match=r"--results: (expected a folder, got nothing|.* is no name that a folder)"):
            plan.with_options(loaded, None, None, folder)


def test_a_set_of_settings_that_many_rows_name_is_read_once(suite_file, monkeypatch):
    rows = ", ".join(f"r{i}: {{method: dcnv2, settings: clickprompt-code}}" for i in range(50))
    read, load = [], yamlfile.load
    monkeypatch.setattr(yamlfile, "load", lambda path: read.append(path.name) or load(path))
    named_settings._read.cache_clear()
    assert len(expand(suite_file(methods=f"[{rows}]", settings="")).cells) == 50
    assert read == ["mini.yaml", "clickprompt-code.yaml"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "1", None, {}, [1.5]])
def test_no_setting_takes_what_is_no_value_of_it(value):
    for name in registry.names():
        for setting in flatten(registry.get(name).settings).values():
            if not isinstance(setting.value, str) or not isinstance(value, str):
                with pytest.raises(UserError, match=r"^here: "):
                    check_value("here", value, setting)


def test_shipped_suites_are_valid():
    names = {path.stem for path in suite.available()}
    assert {"smoke", "quickstart", "table2"} <= names
    for name in names:
        assert suite.load(name).suite == name
    with pytest.raises(UserError, match="unknown suite 'tabel2'; did you mean 'table2'"):
        suite.load("tabel2")


def test_rows_and_columns_take_settings_and_other_names(suite_file):
    path = suite_file(
        methods="[[afm, pnn], {dcnv2: {dropout: 0.2}}, {deep_dcnv2: {method: dcnv2, cross_layers: 5}}]",
        data="[planted-tiny, {planted-small: {order: random, settings: {batch_size: 512}}}]",
    )
    loaded = suite.load(str(path))
    rows = [("afm", "afm"), ("pnn", "pnn"), ("dcnv2", "dcnv2"), ("deep_dcnv2", "dcnv2")]
    assert [(entry.label, entry.method) for entry in loaded.methods] == rows
    assert [entry.label for entry in loaded.data] == ["planted-tiny", "planted-small@random"]


def test_named_settings(tmp_path):
    text = "suite: mine\ntitle: Mine\ndata: [planted-tiny]\n{}methods: [{}]\n"
    for shared, rows in (
        ("settings: clickprompt-code\n", "dcnv2, afm"),
        ("", "dcnv2: {settings: clickprompt-code}, afm"),
    ):
        (tmp_path / "mine.yaml").write_text(text.format(shared, rows))
        dcnv2, afm = expand(tmp_path / "mine.yaml").cells
        assert (dcnv2.settings["cross_layers"], dcnv2.settings["hidden"]) == (6, [256] * 6)
        assert afm.settings == plan.resolve(registry.get("afm"), {})
    (tmp_path / "mine.yaml").write_text(text.format("", "afm: {settings: clickprompt-code}"))
    with pytest.raises(UserError, match=r"mine\.yaml: clickprompt-code: has no settings for 'afm'"):
        suite.load(str(tmp_path / "mine.yaml"))
    (tmp_path / "mine.yaml").write_text(text.format("settings: clickprompt\n", "dcnv2"))
    with pytest.raises(UserError, match="did you mean 'clickprompt-code'"):
        suite.load(str(tmp_path / "mine.yaml"))
