"""Figures from stored runs: what is drawn, that it repeats byte for byte, and what is not drawn."""

import csv
import io
import json
import re
import shutil

import matplotlib as mpl
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forged import rewrite
from PIL import Image

from flipbench.cli import main
from flipbench.data.split import Rows
from flipbench.errors import DamagedError, UserError
from flipbench.metrics import auc, logloss
from flipbench.paper.names import row_name
from flipbench.plan import suite
from flipbench.report.figures import figure_files, scores, style
from flipbench.report.figures.calibration import BINS, reliability, small_multiples
from flipbench.store.manifest import DRAWN
from flipbench.store.planning import plan_of
from flipbench.store.predictions import write_predictions
from flipbench.store.runs import Store

FIELDS = ("user_id", "age", "movie_id")
SHIFT = {"deepfm": 0.0, "dcnv2": 0.8, "autoint": 0.4}
"""How much of the truth a made-up model knows."""


def finish(store, stage, known=0.5):
    """A run folder of made-up figures, through the store's own functions."""
    work, generator = store.work(stage), np.random.default_rng([stage.seed, int(stage.key[:8], 16)])
    metrics = {"best": {"auc": 0.7 + generator.normal() / 100, "logloss": 0.6, "epoch": 1}}
    if stage.role == "evaluate":
        truth = np.random.default_rng(stage.seed // 100).normal(size=600)  # the same test rows for every run
        labels = np.random.default_rng(7).random(600) < 1 / (1 + np.exp(-truth))
        logits = (known * truth + generator.normal(size=600) / 3).astype(np.float32)
        rows = Rows(np.zeros((600, 1), np.int32), labels.astype(np.uint8), np.arange(600, dtype=np.int32) // 3)
        write_predictions(work / "predictions.parquet", rows, logits)
        metrics = {"auc": auc(labels, logits), "logloss": logloss(labels, logits)}
        metrics |= {"rows": len(labels), "positives": int(labels.sum())}
    if stage.role == "embeddings":
        shares = np.sort(generator.random(4))[::-1]
        metrics = {"mean_cosine": generator.random(), "effective_rank": 3.0, "rms_norm": 2.0, "features": 60}
        metrics |= {"unseen": 3, "singular_shares": (shares / shares.sum()).tolist()}
        places = generator.normal(size=(60, 2)).astype(np.float32)
        drawn = {"field": ["age"] * 60, "side": ["user", "item"] * 30, "x": places[:, 0], "y": places[:, 1]}
        pq.write_table(pa.table(drawn), work / DRAWN)
    if stage.role == "alignment":
        rates = dict(zip(FIELDS, generator.random(3).tolist(), strict=True))
        metrics = {"rows": 1024, "chance": 1 / 3, "top1_text": 0.6, "top1_table": 0.5}
        metrics |= {"top1_text_of": rates, "top1_table_of": rates}
        matrix = generator.random(9).astype(np.float32)
        drawn = {"text": np.repeat(FIELDS, 3).tolist(), "table": FIELDS * 3, "example": matrix, "mean": matrix}
        pq.write_table(pa.table(drawn), work / DRAWN)
    store.commit(stage, {"metrics.json": metrics, "env.json": {"seconds": 60.0 + stage.seed, "device": "cpu"}})


@pytest.fixture
def run(suite_file, tmp_path):
    """``run(seeds=.., ...)``: a suite with all its runs made up; returns (plan, store)."""

    def run(skip=lambda stage: False, **changes):
        store, mini = Store(tmp_path / "results"), suite.load(str(suite_file(**changes)))
        store.prepare()
        while stages := [s for s in plan_of(mini, store).stages() if not store.done(s) and not skip(s)]:
            for stage in stages:
                finish(store, stage, SHIFT.get(stage.method, 0.5))
        return plan_of(mini, store), store

    return run


INSPECTED = {
    "settings": "{plm: small}",
    "methods": "[flip, without_mlm: {method: flip, pretrain: {mlm: false}}]",
    "inspect": "[embeddings, alignment]",
    "seeds": "2",
}
SWEPT = {
    "settings": "{plm: small}",
    "methods": "[flip: {method: flip_id}, a: {method: flip_id, pretrain: {temperature: 0.05}}, "
    "b: {method: flip_id, pretrain: {temperature: 1.0}}, c: {method: flip_id, pretrain: {text_mask_ratio: 0.6}}]",
    "seeds": "2",
}
TUNED = {
    "settings": "",
    "methods": "[deepfm, dcnv2, autoint]",
    "seeds": "2",
    "tune": "{budget: 3}",
    "compare": "{reference: dcnv2, test: delong}",
}


def names(files):
    return sorted(n[len("mini-") : -len(".png")].removesuffix("-planted-tiny") for n in files if n.endswith(".png"))


def numbers(files, name):
    return list(csv.DictReader(io.StringIO(files[f"mini-{name}.csv"].decode())))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (INSPECTED, ["alignment-flip", "alignment-without_mlm", "embeddings"]),
        (SWEPT, ["calibration", "cost", "sweep"]),
        (TUNED, ["calibration", "cost", "forest", "tuning"]),
    ],
)
def test_figures_repeat_byte_for_byte(run, changes, expected):
    planned, store = run(**changes)
    first = figure_files(planned, store)
    assert names(first) == expected
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "black"}):
        assert figure_files(planned, store) == first
        assert mpl.rcParams["font.size"] == 20, "theirs are left as they were"
    for name, content in first.items():
        if name.endswith(".pdf"):
            assert b"CreationDate" not in content
            assert b"/Type3" not in content, "letters are letters"
            assert b"/FontFile2" in content
            width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)[1]) / 72
            assert width <= style.PAGE + 0.01
        if name.endswith(".png"):
            assert not re.search(rb"tEXt|tIME|iTXt", content)
            with Image.open(io.BytesIO(content)) as picture:
                assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255), "on white paper"
                assert picture.info["dpi"] == pytest.approx((200, 200), rel=1e-3)


def test_the_numbers_beside_a_picture_are_the_runs_own(run):
    planned, store = run(**TUNED)
    files = figure_files(planned, store)
    cost = numbers(files, "cost-planted-tiny")
    stages = {stage.key: stage for cell in planned.cells for stage in cell.evaluations}
    assert {r["run"] for r in cost} == set(stages)
    for record in cost:
        stage = stages[record["run"]]
        assert float(record["auc"]) == pytest.approx(store.metrics(stage)["auc"], rel=1e-5)
        assert float(record["minutes"]) == pytest.approx(3 * (60 + stage.seed) / 60), "its selection and refit too"
    forest = numbers(files, "forest-planted-tiny")
    assert [(r["metric"], r["against"]) for r in forest] == [
        (metric, other) for metric in ("auc", "logloss") for other in ("deepfm", "autoint")
    ]
    blind = next(r for r in forest if r["against"] == "deepfm" and r["metric"] == "auc")
    assert float(blind["low"]) > 0, "a model that knows the truth against one that knows nothing"
    assert len(numbers(files, "tuning-planted-tiny")) == 9


def test_sweep_and_cost_figures(run):
    files = figure_files(*run(**SWEPT))
    minutes = {r["seed"]: float(r["minutes"]) for r in numbers(files, "cost-planted-tiny") if r["row"] == "flip"}
    assert minutes["0"] == pytest.approx(4 * 60 / 60), "pretrain, select, refit, evaluate: two of them need the first"
    assert {(r["setting"], float(r["value"]), r["row"]) for r in numbers(files, "sweep")} == {
        ("pretrain.temperature", 0.05, "a"),
        ("pretrain.temperature", 0.7, "flip"),
        ("pretrain.temperature", 1.0, "b"),
        ("pretrain.text_mask_ratio", 0.15, "flip"),
        ("pretrain.text_mask_ratio", 0.6, "c"),
    }


def test_what_a_search_chose_is_no_sweep(run):
    planned, store = run(**{**TUNED, "data": "[planted-tiny, planted-tiny: {users: 0.5}]"})
    chosen = {str(cell.settings) for cell in planned.cells if cell.method.label == "deepfm"}
    assert len(chosen) == 2, "another setting for either data set"
    assert not any("sweep" in name for name in figure_files(planned, store))


def test_what_data_sets_differ_in_is_no_sweep(run):
    data = "[planted-tiny, planted-tiny: {users: 0.5, settings: {batch_size: 512}}]"
    planned, store = run(methods="[deepfm, dcnv2]", seeds="2", data=data)
    assert {cell.settings["batch_size"] for cell in planned.cells} == {256, 512}
    assert not any("sweep" in name for name in figure_files(planned, store))


def test_inspections_are_drawn_of_the_seeds_that_all_rows_have(run):
    def later(stage):
        return stage.role == "embeddings" and stage.seed == 1 and not stage.parents["pretrain"].spec["settings"]["mlm"]

    records = numbers(figure_files(*run(skip=later, **INSPECTED)), "embeddings-planted-tiny")
    assert {(r["row"], r["seed"]) for r in records} == {("flip", "0"), ("without_mlm", "0")}


def test_what_has_no_runs_or_a_failed_one_is_not_drawn(run, capsys):
    planned, store = run(skip=lambda s: s.role in ("evaluate", "alignment"), **INSPECTED)
    assert names(figure_files(planned, store)) == ["embeddings"]
    assert capsys.readouterr().err == "mini: no figure of alignment: its runs are not finished\n"
    failed = planned.cells[1].inspections[0]
    shutil.rmtree(store.folder(failed))
    store.fail(failed, "boom", "", {})
    assert {r["row"] for r in numbers(figure_files(planned, store), "embeddings-planted-tiny")} == {"flip"}


def test_a_mean_of_survivors_is_never_drawn(run):
    planned, store = run(**TUNED)
    stage = planned.cells[0].evaluations[1]
    shutil.rmtree(store.folder(stage))
    store.fail(stage, "boom", "", {})
    files = figure_files(planned, store)
    for name in ("cost", "calibration"):
        assert {r["row"] for r in numbers(files, f"{name}-planted-tiny")} == {"dcnv2", "autoint"}


def test_a_changed_file_is_named(run):
    planned, store = run(**INSPECTED)
    path = store.folder(planned.cells[0].inspections[0]) / DRAWN
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: changed since the run was finished"):
        figure_files(planned, store)


@pytest.mark.parametrize("role", ["embeddings", "alignment"])
@pytest.mark.parametrize("name", ["metrics.json", DRAWN])
def test_an_inspection_that_left_something_else_is_named(run, role, name):
    planned, store = run(**INSPECTED)
    stage = next(stage for stage in planned.cells[0].inspections if stage.role == role)
    rewrite(store, stage, name, b"{}" if name == "metrics.json" else b"\x80 no table")
    with pytest.raises(DamagedError, match=rf"{re.escape(str(store.folder(stage)))}: not what '{role}' leaves"):
        figure_files(planned, store)


def test_the_report_of_a_suite_that_inspects_is_its_figures(run, tmp_path, capsys):
    run(**INSPECTED)
    assert main(["report", str(tmp_path / "mini.yaml"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["suite"] == "mini"
    assert {p.name for p in (tmp_path / "reports").iterdir()} == {*shown["figures"], "mini.html"}
    assert len(shown["figures"]) == 9
    page = (tmp_path / "reports" / "mini.html").read_text(encoding="utf-8")
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", page) == ["Figures"]
    assert page.count("<figure>") == 3
    shutil.rmtree(tmp_path / "results")
    assert main(["report", str(tmp_path / "mini.yaml")]) == 1
    assert "no suite has results yet" in capsys.readouterr().err


def test_reliability_against_a_plain_loop():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=1000)
    p = 1 / (1 + np.exp(-logits))
    labels = generator.random(1000) < p
    expected, observed, error = reliability(labels, logits)[["expected", "observed", "standard_error"]].to_numpy().T
    order = sorted(range(1000), key=lambda i: p[i])
    for b in range(10):
        rows = order[100 * b : 100 * b + 100]
        clicked = sum(labels[i] for i in rows) / 100
        assert expected[b] == pytest.approx(sum(p[i] for i in rows) / 100)
        assert observed[b] == pytest.approx(clicked)
        assert error[b] == pytest.approx((clicked * (1 - clicked) / 100) ** 0.5)
    assert (np.abs(observed - expected) < 4 * error + 1e-9).all(), "true probabilities are calibrated"


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_calibration_has_a_panel_a_row_on_one_scale(count):
    points = np.linspace(0.01, 1, BINS)
    curve = pd.DataFrame({"expected": points, "standard_error": 0.01})
    curves = {f"row {i}": curve.assign(observed=points + 0.1 * np.sin(i + points)) for i in range(count)}
    with style.styled():
        figure = small_multiples(curves, "title")
        figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == count
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in panels}) == 1
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        gap = 100 * (curve["observed"] - curve["expected"])
        assert axes.get_title() == f"{name}\nECE {gap.abs().mean():.1f}"
        assert axes.lines[1].get_xydata() == pytest.approx(np.column_stack([points, gap]))
    labelled = [axes.xaxis.get_tick_params()["labelbottom"] for axes in panels]
    assert labelled == [i >= count - min(4, count) for i in range(count)]


def test_no_label_covers_a_point_or_another_label():
    with style.styled():
        figure = style.new(3, 3)
        axes = figure.subplots()
        points = [(i % 4 / 10, i // 4 / 10, f"method{i}") for i in range(8)]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], "o")
        style.label_points(axes, points)
        figure.draw_without_rendering()
        boxes = [t.get_window_extent() for t in axes.texts]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_many_rows_are_numbered_by_their_minutes(run, monkeypatch):
    planned, store = run(**TUNED)
    monkeypatch.setattr(scores, "MOST_NAMES", 2)
    with style.styled():
        (picture,) = scores.cost(planned, store)
        picture.figure.draw_without_rendering()
        (axes,) = picture.figure.axes
        key, *marks = axes.texts
        means = picture.numbers.groupby("row")[["minutes", "auc"]].mean()
        names = [row_name(row) for row in means.sort_values(["minutes", "auc"]).index]
        box = key.get_window_extent()
        assert box.x0 > axes.bbox.x1
        assert box.y0 > 0
        assert box.x1 < picture.figure.bbox.x1
    assert key.get_text().splitlines() == [f"{i}  {name}" for i, name in enumerate(names, 1)]
    assert [mark.get_text() for mark in marks] == ["1", "2", "3"]


def test_a_row_is_named_with_its_group():
    rows = ["deepfm/none", "deepfm/flip_id", "none/dcnv2", "roberta/flip", "without_mlm", "my_model"]
    assert [row_name(row) for row in rows] == [
        *("DeepFM", "DeepFM: FLIP_ID", "DCNv2", "RoBERTa: FLIP", "w/o MLM", "my_model")
    ]


def test_colours_differ_in_grey_or_in_marker_and_line():
    assert len({marker for _, marker, _ in style.SERIES}) == len({str(line) for *_, line in style.SERIES}) == 7
