"""A suite file: what it may say, and how a mistake in it is reported."""

import pytest

from flipbench.errors import UserError
from flipbench.plan import expand as plan
from flipbench.plan import registry, suite


def expand(path):
    return plan.expand(suite.load(str(path)), {"planted-tiny": "f"}, lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sseeds": "3"}, r"mini\.yaml: unknown key 'sseeds'; did you mean 'seeds'\?"),
        ({"seeds": "-1"}, r"seeds: input should be greater than or equal to 1 \(got -1\)"),
        ({"seeds": "two"}, r"seeds: input should be a valid integer.* \(got 'two'\)"),
        ({"seeds": "2.0"}, r"seeds: input should be a valid integer"),
        ({"methods": "[deepfn]"}, r"unknown model 'deepfn'; did you mean 'deepfm'\?"),
        ({"methods": "[]"}, "methods: .*at least 1 item"),
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
    ],
)
def test_a_mistake_in_a_suite_is_one_clear_line(suite_file, changes, words):
    with pytest.raises(UserError, match=words) as error:
        suite.load(str(suite_file(**changes)))
    assert "\n" not in str(error.value)
    assert "mini.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("methods", "settings", "words"),
    [
        ("[dcnv2]", "{learning_rate: fast}", "dcnv2: learning_rate: expected a number, got 'fast'"),
        ("[dcnv2]", "{learning_rate: 0}", "learning_rate: 0.0 is not between"),
        ("[dcnv2]", "{dropout: 1.5}", "dropout: 1.5 is not between 0 and 0.999"),
        ("[dcnv2]", "{batch_size: 2.5}", "batch_size: expected a whole number, got 2.5"),
        ("[dcnv2]", "{batch_norm: 1}", "batch_norm: expected true or false, got 1"),
        ("[dcnv2]", "{hidden: []}", "hidden: expected one or more whole numbers"),
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
