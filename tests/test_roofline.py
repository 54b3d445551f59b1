"""The model of a device: its arithmetic, its profiles, and what ``plan --on`` says with it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flipbench import calibration, cost, plan, roofline, suite, tune
from flipbench.cli import main
from flipbench.data.store import fingerprint
from flipbench.errors import UserError
from flipbench.roofline import Device, Efficiency, Op, Work
from flipbench.store.runs import Store

PLAIN = Device(
    title="plain",
    product_tflops={"float32": 1.0, "bfloat16": 4.0},
    bandwidth_tb_s=1.0,
    memory_gb=1.0,
    overhead_us=1.0,
    efficiency=Efficiency(product=0.5, bandwidth=0.5),
    source={},
)
TINY = "{max_epochs: 2, batch_size: 256, embedding_dim: 4, hidden: [8]}"
OPS = st.lists(
    st.builds(
        Op, st.sampled_from(["float32", "bfloat16"]), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 9)
    ),
    max_size=6,
)


def plan_of(path):
    found = suite.load(str(path))
    store = Store(Path(found.outputs.results))
    return store, plan.expand(found, {d.name: fingerprint(d.name) for d in found.data}, tune.figures(store))


def test_known_times():
    product, copy = Op("float32", 10**9, 0, 1), Op("float32", 0, 10**9, 1)
    assert PLAIN.seconds([product]) == pytest.approx(2e-3), "a TFLOP/s at half its efficiency"
    assert PLAIN.seconds([product._replace(dtype="bfloat16")]) == pytest.approx(0.5e-3)
    assert PLAIN.seconds([product._replace(dtype="float64")]) == pytest.approx(2e-3), "unknown: the slowest"
    assert PLAIN.seconds([copy]) == pytest.approx(2e-3)
    assert PLAIN.seconds([product._replace(traffic=10**9)]) == pytest.approx(2e-3), "the slower of both, not their sum"
    assert PLAIN.seconds([product, copy]) == pytest.approx(4e-3), "one after the other"
    assert PLAIN.seconds([Op("float32", 0, 8, 500)]) == pytest.approx(500e-6), "the host's, where all is small"
    in_turn = PLAIN.model_copy(update={"asynchronous": False})
    assert in_turn.seconds([product, Op("float32", 0, 0, 1)]) == pytest.approx(2e-3 + 2e-6)


@given(OPS, OPS, st.integers(1, 8))
def test_more_work_never_takes_less_nor_does_sharing(ops, more, sharing):
    alone = PLAIN.seconds(ops)
    assert PLAIN.seconds([*ops, *more]) >= alone
    shared = PLAIN.seconds(ops, sharing)
    assert alone <= shared <= sharing * alone * (1 + 1e-9)
    faster = PLAIN.model_copy(update={"product_tflops": {"float32": 2.0, "bfloat16": 8.0}, "bandwidth_tb_s": 2.0})
    assert faster.seconds(ops) <= alone
    assert PLAIN.model_copy(update={"asynchronous": False}).seconds(ops) >= alone


def test_rates_are_of_a_row_and_a_pretraining_scores_none():
    work = Work((Op("float32", 10**9, 0, 1),), (Op("float32", 10**9, 0, 4),), 100, setup=3.0, rows=7, memory_mb=5.0)
    found = PLAIN.rates(work)
    assert (found.setup, found.rows, found.memory_mb, found.device_memory_mb, found.steps) == (3.0, 7, None, 5.0, 0)
    assert found.step == pytest.approx(2e-3)
    assert found.row == pytest.approx(8e-5)
    assert PLAIN.rates(replace(work, scoring=(), scored=0)).row == 0.0


def test_memory_is_mib_against_gb():
    assert PLAIN.fits(953.0)
    assert not PLAIN.fits(954.0), "10^9 bytes are 953.7 MiB"


def test_every_figure_of_every_profile_has_a_source_and_is_no_share_above_one():
    assert "h200" in roofline.devices()
    for name, profile in roofline.devices().items():
        figures = {"product_tflops", "bandwidth_tb_s", "memory_gb", "overhead_us"}
        assert set(profile.source) == figures | {"efficiency.product", "efficiency.bandwidth"}, name
        assert all(len(source) > 20 for source in profile.source.values())
        assert max(profile.efficiency.product, profile.efficiency.bandwidth) <= 1
        assert profile.asynchronous


def test_an_unknown_device_is_one_line_with_the_nearest(suite_file, capsys):
    with pytest.raises(UserError, match=r"--on h20: no profile of such a device; did you mean 'h200'\?"):
        roofline.device("h20")
    assert main(["plan", str(suite_file()), "--on", "tpu"]) == 1
    assert capsys.readouterr().err == "flipbench: --on tpu: no profile of such a device; valid: h100, h200\n"


@pytest.mark.parametrize("option", [["--calibrate"], ["--device", "cpu"]])
def test_this_machine_and_another_are_not_mixed(suite_file, capsys, option):
    assert main(["plan", str(suite_file()), "--on", "h200", *option]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"flipbench: --on h200: models another machine, and {' '.join(option)} is of this one")
    assert error.count("\n") == 1


def test_a_plan_on_another_device_is_modelled_and_counts_once(suite_file, home, tmp_path, capsys):
    path = suite_file(settings=TINY, seeds="2")
    assert main(["plan", str(path), "--on", "h200", "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err.count("\n") == 1, "one kind"
    assert "operations a step" in said.err
    assert {s["known_from"] for s in found["stages"]} == {"modelled"}
    assert (found["on"], found["slots"], found["at_most"]) == ("NVIDIA H200 SXM", 1, True)
    assert not (tmp_path / "results").exists()
    (work,) = roofline.load().values()
    rates = roofline.device("h200").rates(work)
    select = next(s for s in found["stages"] if s["role"] == "select")
    rows, scored = 3200, 400  # of 4,000: nine tenths to train on, a ninth of these to choose with
    steps = 2 * -(-rows // 256)
    assert select["expected_seconds"] == pytest.approx(rates.setup + steps * rates.step + 2 * scored * rates.row)
    assert select["device_memory_mb"] == work.memory_mb
    assert main(["plan", str(path), "--on", "h100"]) == 0
    again = capsys.readouterr()
    assert again.err == "", "the counts are of no device"
    assert "modelled" in again.out
    assert again.out.splitlines()[-1].startswith("Modelled for NVIDIA H100 SXM, not measured:")
    (file,) = (home / "calibration").glob("operations-*.json")
    file.write_text(file.read_text()[:-9])
    assert roofline.load() == {}, "a damaged file is none"


def test_counts_come_back_as_they_went(home):
    work = Work((Op("float32", 3, 4, 5),), (), 0, setup=1.5, rows=9, memory_mb=2.0)
    roofline.save({"a": work})
    roofline.save({"b": replace(work, rows=1)})
    assert roofline.load() == {"a": work, "b": replace(work, rows=1)}


def test_of_this_machines_runs_the_epochs_alone_count(suite_file, home):
    store, planned = plan_of(suite_file(seeds="2", settings=TINY))
    stages = planned.stages()
    kinds = calibration.representatives(stages)
    second = {s.role: s for s in stages if s.seed == 1}
    rates = calibration.Rates(0.0, 1.0, 0.0, rows=2000, memory_mb=None, device_memory_mb=1.0, steps=0)
    on = cost.Costs(store, "cuda", dict.fromkeys(kinds, rates))
    assert (on.of(second["select"]).seconds, on.of(second["select"]).at_most) == (14, True)
    store.work(stages[0])
    history = [{"epoch": 0, "auc": 0.6}]
    env = {"device": "cpu", "cores": 2, "seconds": 1000.0}
    store.commit(stages[0], {"metrics.json": {"best": history[0], "history": history}, "env.json": env})
    on = cost.Costs(store, "cuda", dict.fromkeys(kinds, rates))
    found = on.of(second["select"])
    assert (found.source, found.seconds, found.at_most) == ("modelled", 7, False)
    assert cost.Costs(store, "cuda", {}).of(second["select"]) is None


def test_what_does_not_fit_and_what_costs_too_much_is_said(suite_file, home, capsys):
    path = suite_file(settings=TINY)
    (kind,) = calibration.representatives(plan_of(path)[1].stages())
    roofline.save({kind: Work((Op("float32", 0, 1, 1),), (), 0, setup=3600.0, rows=4000, memory_mb=100_000.0)})
    assert main(["plan", str(path), "--on", "h200"]) == 0
    assert "do not fit" not in capsys.readouterr().out
    assert main(["plan", str(path), "--on", "h200", "--workers", "2"]) == 0
    assert "200000 MB do not fit into its 141 GB: fewer --workers" in capsys.readouterr().out
    assert main(["plan", str(path), "--on", "h200", "--budget", "2h"]) == 1
    assert capsys.readouterr().err == "flipbench: --budget 2h: at most 3 h 0 min expected on 1 slot\n"
