"""Figures from stored runs: what is drawn, that it repeats byte for byte, and what is not drawn."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import font_manager
from PIL import Image

from flipbench.cli import main, report
from flipbench.data.split import Rows
from flipbench.errors import UserError
from flipbench.metrics import auc, logloss
from flipbench.paper import row_name
from flipbench.plan import expand as plan
from flipbench.plan import search as tune
from flipbench.plan import suite
from flipbench.report.figures import Figures, font, scores, style, write_figures
from flipbench.report.figures.calibration import BINS, reliability, side_by_side
from flipbench.store.predictions import write_predictions
from flipbench.store.runs import DRAWN, Store

FIELDS = ("user_id", "age", "movie_id")
SHIFT = {"deepfm": 0.0, "dcnv2": 0.8, "autoint": 0.4}
"""How much of the truth a made-up model knows."""


def expand(path, store):
    return plan.expand(suite.load(str(path)), {"planted-tiny": "a" * 64}, tune.trial_metrics(store))


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
        store = Store(tmp_path / "results")
        store.prepare()
        path = suite_file(**changes)
        while stages := [s for s in expand(path, store).stages() if not store.done(s) and not skip(s)]:
            for stage in stages:
                finish(store, stage, SHIFT.get(stage.method, 0.5))
        return expand(path, store), store

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


def names(paths):
    return sorted(p.name.removeprefix("mini-") for p in paths if p.suffix == ".png")


def numbers(folder, name):
    return list(csv.DictReader(io.StringIO((folder / f"mini-{name}.csv").read_text())))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (INSPECTED, ["alignment-flip-planted-tiny.png", "alignment-without_mlm-planted-tiny.png",
                     "embeddings-planted-tiny.png"]),
        (SWEPT, ["calibration-planted-tiny.png", "cost-planted-tiny.png", "sweep.png"]),
        (TUNED, ["calibration-planted-tiny.png", "cost-planted-tiny.png", "forest-planted-tiny.png",
                 "tuning-planted-tiny.png"]),
    ],
)  # fmt: skip
def test_figures_repeat_byte_for_byte_whatever_the_readers_settings_and_hold_no_date(run, tmp_path, changes, expected):
    planned, store = run(**changes)
    first = write_figures(planned, store, tmp_path / "first")
    assert names(first) == expected
    with mpl.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.facecolor": "black"}):
        second = write_figures(planned, store, tmp_path / "second")
        assert mpl.rcParams["font.size"] == 20, "theirs are left as they were"
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    for path in first:
        content = path.read_bytes()
        if path.suffix == ".pdf":
            assert b"CreationDate" not in content
            assert b"/Type3" not in content, "letters are letters"
            assert b"/FontFile2" in content
            width = float(re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", content)[1]) / 72
            assert width <= style.PAGE + 0.01
        if path.suffix == ".png":
            assert not re.search(rb"tEXt|tIME|iTXt", content)
            with Image.open(io.BytesIO(content)) as picture:
                assert picture.mode == "P", "few colours"
                assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255), "on white paper"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Python's pool: cancelled ones
def test_two_processes_write_what_one_does_even_if_one_is_killed_and_say_what_is_wrong(run, tmp_path, monkeypatch):
    planned, store = run(**TUNED)
    alone = write_figures(planned, store, tmp_path / "alone")
    monkeypatch.setattr(report, "slots_of", lambda *_: ("cpu", 2))
    with report._second_process() as pool:
        dying = Figures(planned, store, pool)
        for process in pool._processes.values():
            process.kill()
        assert [p.read_bytes() for p in dying.write(tmp_path / "both")] == [p.read_bytes() for p in alone]
    with report._second_process() as pool:
        both = Figures(planned, store, pool).write(tmp_path / "both")
        assert [p.name for p in both] == [p.name for p in alone]
        assert [p.read_bytes() for p in both] == [p.read_bytes() for p in alone]
        predictions = store.folder(planned.cells[0].evaluations[0]) / "predictions.parquet"
        predictions.write_bytes(predictions.read_bytes()[:-1] + b"x")
        with pytest.raises(UserError, match=rf"{re.escape(str(predictions))}: changed since the run was finished"):
            Figures(planned, store, pool).write(tmp_path / "both")
    monkeypatch.setattr(report, "slots_of", lambda *_: ("cpu", 1))
    with report._second_process() as pool:
        assert pool is None, "on one core it would only take time"


def test_the_numbers_beside_a_picture_are_the_runs_own(run, tmp_path):
    planned, store = run(**TUNED)
    write_figures(planned, store, tmp_path)
    cost = numbers(tmp_path, "cost-planted-tiny")
    stages = {stage.key: stage for cell in planned.cells for stage in cell.evaluations}
    assert {r["run"] for r in cost} == set(stages)
    for record in cost:
        stage = stages[record["run"]]
        assert float(record["auc"]) == pytest.approx(store.metrics(stage)["auc"], rel=1e-5)
        assert float(record["minutes"]) == pytest.approx(3 * (60 + stage.seed) / 60), "its selection and refit too"
    forest = numbers(tmp_path, "forest-planted-tiny")
    assert [(r["metric"], r["against"]) for r in forest] == [
        (metric, other) for metric in ("auc", "logloss") for other in ("deepfm", "autoint")
    ]
    blind = next(r for r in forest if r["against"] == "deepfm" and r["metric"] == "auc")
    assert float(blind["low"]) > 0, "a model that knows the truth against one that knows nothing"
    tuning = numbers(tmp_path, "tuning-planted-tiny")
    assert len(tuning) == 9


def test_a_sweep_has_a_curve_for_each_setting_through_the_common_row(run, tmp_path):
    planned, store = run(**SWEPT)
    write_figures(planned, store, tmp_path)
    found = {(r["setting"], float(r["value"]), r["row"]) for r in numbers(tmp_path, "sweep")}
    assert found == {
        ("pretrain.temperature", 0.05, "a"),
        ("pretrain.temperature", 0.7, "flip"),
        ("pretrain.temperature", 1.0, "b"),
        ("pretrain.text_mask_ratio", 0.15, "flip"),
        ("pretrain.text_mask_ratio", 0.6, "c"),
    }


def test_inspections_are_drawn_of_the_seeds_that_all_rows_have(run, tmp_path):
    def later(stage):
        return stage.role == "embeddings" and stage.seed == 1 and not stage.parents["pretrain"].spec["settings"]["mlm"]

    planned, store = run(skip=later, **INSPECTED)
    write_figures(planned, store, tmp_path)
    found = numbers(tmp_path, "embeddings-planted-tiny")
    assert {(r["row"], r["seed"]) for r in found} == {("flip", "0"), ("without_mlm", "0")}


def test_what_has_no_runs_or_a_failed_one_is_not_drawn_and_said_in_a_line(run, tmp_path, capsys):
    planned, store = run(skip=lambda s: s.role in ("evaluate", "alignment"), **INSPECTED)
    assert names(write_figures(planned, store, tmp_path)) == ["embeddings-planted-tiny.png"]
    assert capsys.readouterr().err == "mini: no figure of alignment: its runs are not finished\n"
    failed = planned.cells[1].inspections[0]
    shutil.rmtree(store.folder(failed))
    store.fail(failed, "boom", "", {})
    write_figures(planned, store, tmp_path)
    assert {r["row"] for r in numbers(tmp_path, "embeddings-planted-tiny")} == {"flip"}


def test_a_mean_of_survivors_is_never_drawn(run, tmp_path):
    planned, store = run(**TUNED)
    stage = planned.cells[0].evaluations[1]
    shutil.rmtree(store.folder(stage))
    store.fail(stage, "boom", "", {})
    write_figures(planned, store, tmp_path)
    for name in ("cost", "calibration"):
        assert {r["row"] for r in numbers(tmp_path, f"{name}-planted-tiny")} == {"dcnv2", "autoint"}


def test_a_changed_file_is_named(run, tmp_path):
    planned, store = run(**INSPECTED)
    path = store.folder(planned.cells[0].inspections[0]) / DRAWN
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}: changed since the run was finished"):
        write_figures(planned, store, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the figures cannot be written"):
        write_figures(*run(**SWEPT), tmp_path / "file" / "folder")


def test_the_report_of_a_suite_that_inspects_is_its_figures(run, tmp_path, capsys):
    run(**INSPECTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flipbench.cli.common.data_store.known_fingerprint", lambda name: "a" * 64)
        assert main(["report", str(tmp_path / "mini.yaml"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["suite"] == "mini"
    assert {p.name for p in (tmp_path / "reports").iterdir()} == {*shown["figures"], "mini.html"}
    assert len(shown["figures"]) == 9
    shutil.rmtree(tmp_path / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flipbench.cli.common.data_store.known_fingerprint", lambda name: "a" * 64)
        assert main(["report", str(tmp_path / "mini.yaml")]) == 1
    assert "no suite has results yet" in capsys.readouterr().err


def test_reliability_against_a_plain_loop():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=1000)
    p = 1 / (1 + np.exp(-logits))
    labels = generator.random(1000) < p
    expected, observed, error = reliability(labels, logits)
    order = sorted(range(1000), key=lambda i: p[i])
    for b in range(10):
        rows = order[100 * b : 100 * b + 100]
        clicked = sum(labels[i] for i in rows) / 100
        assert expected[b] == pytest.approx(sum(p[i] for i in rows) / 100)
        assert observed[b] == pytest.approx(clicked)
        assert error[b] == pytest.approx((clicked * (1 - clicked) / 100) ** 0.5)
    assert (np.abs(observed - expected) < 4 * error + 1e-9).all(), "true probabilities are calibrated"


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_each_curve_of_calibration_is_in_a_frame_of_its_own_under_its_title(count):
    x = np.linspace(0.01, 1, BINS)
    panels = [(f"row {i}", x, np.sin(i + 9 * x), np.full(BINS, 0.1)) for i in range(count)]
    with style.styled():
        axes = side_by_side(panels, "title").axes[0]
    curve = axes.lines[0].get_xydata().reshape(count, BINS + 1, 2)
    assert np.isnan(curve[:, -1]).all(), "no line leads from one to the next"
    frames = next(c for c in axes.collections if len(c.get_segments()) == count and is_upright(c.get_segments()))
    corners = np.array(frames.get_segments())
    for points, (bottom, top), text, (name, _, y, _) in zip(curve[:, :-1], corners, axes.texts, panels, strict=False):
        assert points[:, 0] - bottom[0] == pytest.approx(x)
        assert np.diff(points[:, 1]) == pytest.approx(np.diff(y)), "all on one scale"
        assert ((bottom[1] < points[:, 1] - 0.1) & (points[:, 1] + 0.1 < top[1])).all()
        assert text.get_text() == name
        assert bottom[0] < text.get_position()[0] < bottom[0] + 1
        assert 0 < text.get_position()[1] - top[1] < 0.2 * (top[1] - bottom[1])
    marks = [float(t.get_text().replace("\N{MINUS SIGN}", "-")) for t in axes.get_yticklabels()]
    zero = curve[0, 0, 1] - panels[0][2][0]
    first_row = axes.get_yticks()[: len(marks) // -(-count // 4)]
    assert first_row - zero == pytest.approx(marks[: len(first_row)])


def is_upright(segments):
    return all(a[0] == b[0] for a, b in segments)


def test_letters_are_those_of_dejavu_sans_kerned_and_cut_out_of_a_smaller_font():
    with style.styled():
        own = font_manager.get_font(font_manager.findfont(font.NAME))
    theirs = font_manager.get_font(Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf"))
    assert own.postscript_name == theirs.postscript_name, "the name in a PDF"
    assert own.num_glyphs < theirs.num_glyphs / 10, "what is cut out of the rest takes its time again in every PDF"
    widths = {face: [] for face in (own, theirs)}
    for face, found in widths.items():
        face.set_size(70, 300)
        for text in ("AVATAR To. LT", "MovieLens-1M: w/o MLM, 0.8", "τ = 0.7, Δ AUC ± 0.1"):
            face.set_text(text)
            found.append(face.get_width_height()[0])
    assert widths[own] == pytest.approx(widths[theirs], rel=0.01)
    assert widths[own][0] == widths[theirs][0]
    own.set_text("AVATAR To. LT", features=("-kern",))
    assert widths[own][0] < 0.95 * own.get_width_height()[0], "kerned"


def test_a_letter_that_the_small_font_lacks_is_drawn_in_dejavu_sans(recwarn):
    name = "a row named ∀ with a ☃"
    with style.styled(["another", name]):
        figure = style.new(2, 1)
        figure.text(0.1, 0.5, name)
        content = style.encoded(style.Picture("letters", figure, []))["pdf"]
    assert not [w for w in recwarn if "missing from font" in str(w.message)]
    assert content.count(b"/FontFile2") == 2, "both fonts"


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


def test_many_rows_are_numbered_by_their_minutes_and_named_beside_the_axes(run, monkeypatch):
    planned, store = run(**TUNED)
    monkeypatch.setattr(scores, "MOST_NAMES", 2)
    with style.styled():
        (picture,) = scores.cost(planned, store)
        picture.figure.draw_without_rendering()
        (axes,) = picture.figure.axes
        key, *marks = axes.texts
        minutes = {
            row: [r["minutes"] for r in picture.numbers if r["row"] == row] for row in ("deepfm", "autoint", "dcnv2")
        }
        names = [row_name(row) for row in sorted(minutes, key=lambda row: np.mean(minutes[row]))]
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
