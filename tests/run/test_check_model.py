"""An own model with one of the commonest mistakes: one line says what is wrong, and at which line of which file."""

import json
import re
from pathlib import Path

import pytest
from own_package import forget, package

from flipbench.plan.new_model import new_model
from flipbench.run.check_model import check_model
from flipbench.run.contract import CHECKS
from flipbench.schedule.worker import run_when_free

EQUATION = "        return 0.5 * (e.sum(1).square() - e.square().sum(1))"
BEGIN = "        super().__init__(features, fields, embedding_dim, representation_dim=embedding_dim)\n"
IMPORT = "from torch import Tensor\n"


def represents(*lines):
    """The equation replaced."""
    return {EQUATION: "\n".join(f"        {line}" for line in lines) + " "}


def begins(line):
    """A line after the base's constructor, whose effect the equation has."""
    return {BEGIN: f"{BEGIN}        {line}\n"}


NORM = "self.norm = nn.BatchNorm1d(embedding_dim{})"
SCORE = "    def score(self, ids, v):\n        return {}\n\n    def represent"
NN = {IMPORT: f"import random\nimport torch\nfrom torch import nn\n{IMPORT}"}

MISTAKES = {
    # the part that says it: what is replaced in the template, words of the line, and the line that is named
    "wrong shape": ("forward", represents("return e"), "'represent' gives [64, 8, 16] torch.float32", "def represent"),
    "wrong type": ("forward", represents("return e.sum(1).double()"), "[64, 16] torch.float64", "def represent"),
    "hidden default": (
        "settings",
        {"embedding_dim: int)": "embedding_dim: int, depth: int = 3)"},
        "the constructor takes 'depth' with the default 3, which is no setting",
        "def __init__",
    ),
    "plain default": (
        "registered",
        {'Guess(16, "to begin with", Valid.WIDTH)': "16"},
        "declares settings: embedding_dim: expected Paper(...), Code(...) or Guess(...), got 16",
        "settings = {",
    ),
    "setting that nothing takes": (
        "settings",
        {"{\"embedding_dim\": Guess": "{\"depth\": Guess(1, \"why\"), \"embedding_dim\": Guess"},
        "the setting 'depth' is no parameter of the constructor",
        "settings = {",
    ),
    "exception": ("forward", represents("raise ValueError('not today')"), "ValueError: not today", "raise ValueError"),
    "exception in torch": ("forward", represents("return e @ e"), "RuntimeError: ", "return e @ e"),
    "no equation": ("forward", {"def represent": "def equation"}, "defines no 'represent'", "class "),
    "NaN": ("forward", represents("return (e.sum(1) - 1).log()"), "log gives NaN", "return (e.sum(1) - 1)"),
    "infinity": ("forward", represents("return (e.sum(1) * 0).log()"), "log is infinite", "return (e.sum(1) * 0)"),
    "NaN as it trains": (
        "learns",
        represents("root = (e - e).sum(1).sqrt()", "return root"),
        "the training loss 'loss' is nan in epoch 1, by step 30; last good checkpoint: none; the gradient of sqrt is",
        "root = (e - e)",
    ),
    "unused parameter": (
        "gradients",
        {**NN, **begins("self.spare = nn.Linear(3, 4)")},
        "no gradient reaches spare.weight, spare.bias",
        "self.spare =",
    ),
    "unused first order": (
        "gradients",
        {"    def represent": SCORE.format("v.sum(1)")},
        "no gradient reaches linear.weight, head.weight, head.bias; 'first_order=False' leaves out",
        "class ",
    ),
    "import error": ("registered", {IMPORT: f"import missing\n{IMPORT}"}, "No module named 'missing'", "import mis"),
    "syntax error": ("registered", represents("return ("), "SyntaxError: '(' was never closed", "return ("),
    "no such class": ("registered", {"class Own": "class Other"}, "has no attribute 'Own", ""),
    "no model": ("registered", {"(IDModel)": "(object)"}, "is no subclass of flipbench.models.id_model", "class "),
    "ids as float": ("forward", {"embed(ids)": "embed(ids.float())"}, "int32 or int64, not float32", "e = self.embed"),
    "ids as features": (
        "gradients",
        represents("return (ids.float() / self.features).sum(1, keepdim=True).expand(-1, e.shape[2])"),
        "no gradient reaches embed.weight",
        "class ",
    ),
    "batch norm at batch 1": (
        "rows",
        {**NN, **begins(NORM.format("")), **represents("return self.norm(e.sum(1))")},
        "cannot train on a batch of one row, and no rule says so",
        "return self.norm",
    ),
    "batch norm of the batch": (
        "rows",
        {**NN, **begins(NORM.format(", track_running_stats=False")), **represents("return self.norm(e.sum(1))")},
        "Expected more than 1 value per channel",
        "return self.norm",
    ),
    "batch mates": ("rows", represents("return (e - e.mean(0)).sum(1)"), "a row's logit depends on", "def represent"),
    "other random numbers": (
        "deterministic",
        {**NN, **represents("v = e.sum(1)", "return v * random.random() if self.training else v")},
        "two trainings from one seed end with other bits",
        "def represent",
    ),
    "state outside of buffers": (
        "resumes",
        {**begins("self.steps = 0"), **represents("self.steps += self.training", "return e.sum(1) * self.steps")},
        "killed after an epoch and resumed it ends with other bits",
        "def represent",
    ),
    "waits for a value": (
        "meta",
        represents("return e.sum(1) * (1 if e.sum().item() > -9 else 2)"),
        "Tensor.item() cannot be called on meta tensors",
        "return e.sum(1) * (1 if",
    ),
    "does not learn": (
        "learns",
        {"    def represent": SCORE.format("1e-6 * super().score(ids, v)")},
        "does not learn: loss 0.6931",
        "def represent",
    ),
}  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """``own(changes)``: the package of a new model with some of its text replaced; the folder and the lines of it."""
    monkeypatch.chdir(tmp_path)
    made = []

    def write(changes, register=True):
        name = f"own_{len(made)}"
        new_model(name)
        made.append(name)
        file = tmp_path / name / f"{name}.py"
        text = file.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        if register:
            package(tmp_path / name, name, {}, f"[flipbench.id_models]\n{name} = {name}:Own{len(made) - 1}\n")
            monkeypatch.syspath_prepend(tmp_path / name)
        forget("own_")
        return name, text.splitlines()

    yield write
    forget("own_")


def line_of(lines, words):
    return next(number for number, line in enumerate(lines, 1) if words in line)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_a_traceback(own, cli, mistake):
    part, changes, words, where = MISTAKES[mistake]
    name, lines = own(changes)
    code, out, _ = cli("check", "model", name)
    assert code == 1, out
    wrong = [line for line in out.splitlines() if line.startswith("wrong")]
    assert len(wrong) == 1, out
    place = f"{name}/{name}.py:{line_of(lines, where)}" if where else f"{name}/{name}.py"
    said = re.fullmatch(rf"wrong +{part} +(.+) \({re.escape(place)}, traceback: (\S+)\)", wrong[0])
    assert said, wrong[0]
    assert words in said[1]
    traceback = Path(said[2]).read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in traceback
    assert traceback.startswith(f"{part}\n")


def test_a_new_model_holds_the_contract_and_leaves_no_traceback(own, cli):
    name, broken = own({})[0], own({EQUATION: "        raise ValueError"})[0]
    assert cli("check", "model", broken)[0] == 1
    code, out, err = cli("check", "model", name, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert (document["holds"], document["tracebacks"]) == (True, None)
    assert [finding["check"] for finding in document["findings"]] == ["registered", *CHECKS]
    assert {finding["state"] for finding in document["findings"]} == {"ok"}
    assert check_model(broken).tracebacks.exists()


def test_a_rule_says_that_batch_norm_needs_rows(own, cli):
    rule = 'rules = [AtLeast("batch_size", 2, "batch norm needs rows to compare")]'
    changes = {
        **NN,
        **begins(NORM.format("")),
        **represents("return self.norm(e.sum(1))"),
        "    grid =": f"    {rule}\n    grid =",
        "import Guess": "import AtLeast, Guess",
    }
    code, out, _ = cli("check", "model", own(changes)[0])
    assert code == 0, out
    assert "a rule refuses batch_size 1" in out


def test_a_forgotten_entry_point(own, cli, refused, suite_file, tmp_path):
    name, _ = own({}, register=False)
    path = suite_file(methods=f"[{name}]")
    code, out, _ = cli("check", "model", name)
    assert code == 1
    assert (
        f"'{name}' is registered there, and not installed since: pip install -e {name} ({name}/pyproject.toml:13,"
        in out
    )
    assert f"not installed since: pip install -e {name} ({name}/pyproject.toml:13)" in refused("plan", path)
    project = tmp_path / name / "pyproject.toml"
    project.write_text(project.read_text().replace(f'{name} = "{name}:Own0"\n', ""))
    code, out, _ = cli("check", "model", name)
    assert (code, out.count("\n")) == (1, 1)
    added = f'add {name} = "{name}:Own0" to {name}/pyproject.toml, under [project.entry-points."flipbench.id_models"]'
    assert added in out
    assert f"({name}/{name}.py:9, traceback: " in out
    assert f"{added}, and install it again ({name}/{name}.py:9)" in refused("run", path)


def test_a_class_that_is_registered_under_another_name_is_not_meant(refused, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert "unknown model 'deep_fm'; did you mean 'deepfm'?" in refused("check", "model", "deep_fm")


def test_a_duplicate_name(own, cli, tmp_path):
    name, _ = own({})
    package(tmp_path / name, "somebody", {}, f"[flipbench.id_models]\n{name} = baselines.dcnv2:DCNv2\n")
    forget("own_")
    code, out, _ = cli("check", "model", name)
    assert (code, out.count("\n")) == (1, 1)
    assert f"both register '{name}': one is to take another name" in out
    assert f"'{name}' ({name}/{name}.py:9)" in out
    assert re.search(r"'somebody' \(\S*baselines/dcnv2\.py:\d+\)", out)


def test_what_is_no_id_model_is_refused(refused):
    assert "'flip' is a method of kind 'hybrid'" in refused("check", "model", "flip")
    assert "unknown model 'DeepFM'; did you mean 'deepfm'?" in refused("check", "model", "DeepFM")


RUN = ["wrong shape", "exception", "NaN as it trains", "import error", "ids as float", "batch norm at batch 1"]


@pytest.mark.parametrize("mistake", RUN)
def test_a_failed_run_names_the_line_and_its_record(own, staged, mistake):
    _, changes, _, where = MISTAKES[mistake]
    name, lines = own(changes)
    settings = f"{{max_epochs: 1, batch_size: {1 if 'batch 1' in mistake else 256}}}"
    _, store, (stage, *_) = staged(methods=f"[{name}]", settings=settings)
    with pytest.raises((RuntimeError, ValueError, TypeError, ImportError)):
        run_when_free(stage, store, "cpu", lambda _: None, lambda: None)
    by_name = "class " if mistake in ("wrong shape", "NaN as it trains") else where  # what the engine stumbles over
    record = store.failure_file(stage)
    assert store.evidence(stage) == f"{name}/{name}.py:{line_of(lines, by_name)}, traceback: {record}"
    assert "Traceback" in json.loads(record.read_text())["detail"]


def test_the_line_of_a_failed_run(own, cli, suite_file, tmp_path):
    name, lines = own(MISTAKES["exception"][1])
    path = suite_file(methods=f"[{name}]")
    code, _, err = cli("run", path, "--workers", 1, "--device", "cpu")
    assert code == 2
    first, *others = err.splitlines()[err.splitlines().index("3 stages failed:") + 1 :]
    place = f"{name}/{name}.py:{line_of(lines, 'raise ValueError')}"
    (record,) = (tmp_path / "results").glob("*/*/*.failed.json")
    assert first == f"  select planted-tiny {name} s0: ValueError: not today ({place}, traceback: {record})"
    assert [line.partition(": ")[2] for line in others] == [
        f"needs {stage} planted-tiny {name} s0, which failed" for stage in ("select", "refit")
    ]
    key = re.search(r"-([0-9a-f]{12})\.", record.name)[1]
    assert "raise ValueError('not today')" in cli("show", key, "--results", tmp_path / "results")[1]


DOCS = Path(__file__).parents[2] / "docs" / "your-own-model.md"


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def unnumbered(line, name):
    """Without what differs from model to model: its name, digests, and where files are."""
    line = re.sub(r"traceback: \S+/", "traceback: ", line).replace(f"{name}/{name}.py", f"{name}.py")
    line = re.sub(r"bits, [0-9a-f]{12}", "bits, DIGEST", line)
    return line.replace(name, "my_model").replace("Own0", "MyModel").replace("-0123456789ab", "-KEY")


def test_the_docs_show_what_is_said(own, cli, suite_file, monkeypatch):
    checked, failed = blocks("text")
    forgotten = {IMPORT: "from torch import Tensor, nn\n", **begins("self.gate = nn.Linear(embedding_dim, 1)")}
    name, _ = own(forgotten)
    said = [unnumbered(line, name) for line in cli("check", "model", name)[1].splitlines()]
    assert said == [unnumbered(line, "my_model") for line in checked.splitlines()]
    assert [line.split()[1] for line in said] == ["registered", *CHECKS]
    (shown,) = blocks("python")
    assert shown in Path(name, f"{name}.py").read_text(encoding="utf-8")

    name, _ = own({EQUATION: "        raise ValueError('not today')"})
    err = cli("run", suite_file(methods=f"[{name}]"), "--workers", 1, "--device", "cpu")[2]
    (line,) = (line.strip() for line in err.splitlines() if line.startswith("  select"))
    line = re.sub(r"-[0-9a-f]{12}\.failed", "-KEY.failed", line)
    assert unnumbered(line, name) == unnumbered(failed.strip(), "my_model")
