"""What a plan is expected to cost: counted against what real runs do, never timed."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flipbench.cost import calibration
from flipbench.cost import estimate as cost
from flipbench.cost.calibration import Rates, kind_of
from flipbench.cost.measure import measure, of_each, train_until
from flipbench.data import split
from flipbench.data.store import open_table
from flipbench.errors import UserError
from flipbench.memory import TUNABLES
from flipbench.plan import suite
from flipbench.plan.stage import Stage
from flipbench.run.stages import run_stage
from flipbench.schedule.local import Pool
from flipbench.store import planning
from flipbench.store.runs import Store

TINY = "max_epochs: 2, batch_size: 256, embedding_dim: 4, hidden: [8]"
FLIP = "flip_id: {plm: small, pretrain: {epochs: 1, batch_size: 256}}"


def plan_of(path):
    mini = suite.load(str(path))
    store = planning.store_of(mini)
    return store, planning.plan_of(mini, store)


def calibrate(stages, device="cpu", **rates):
    """Make believe that every kind among the stages was measured so."""
    nothing = Rates(setup=0, step=0, row=0, rows=4000, memory_mb=100, device_memory_mb=None, steps=9)
    calibration.save(device, dict.fromkeys(calibration.representatives(stages), replace(nothing, **rates)))


@pytest.mark.parametrize(("text", "value"), [("90m", 5400), ("8h", 28800), ("2d", 172800), ("1.5h", 5400), ("3s", 3)])
def test_budgets(text, value):
    assert cost.budget_of(text) == value


@pytest.mark.parametrize("text", ["8", "h", "8 h", "-1h", "0h", "1e3s", "8hours", ""])
def test_a_budget_that_is_no_time_is_one_line(text):
    with pytest.raises(UserError, match="expected a time such as 90m, 8h or 2d"):
        cost.budget_of(text)


def chain(lengths):
    """Stages named 0, 1, ... each the parent of the next."""
    stages = []
    for i, _ in enumerate(lengths):
        stages.append(Stage("fit", {"number": i, "of": len(lengths)}, {"before": stages[-1]} if stages else {}))
    return stages


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=4), min_size=1, max_size=6), st.integers(1, 4))
def test_finish_lies_within_bounds(chains, slots):
    stages, took = [], {}
    for number, lengths in enumerate(chains):
        for stage, length in zip(chain(lengths), lengths, strict=True):
            named = Stage("fit", {**stage.spec, "chain": number}, {})
            parents = {"before": stages[-1]} if stage.parents else {}
            stages.append(replace(named, parents=parents))
            took[named.key] = float(length)
    total, longest = sum(took.values()), max(map(sum, chains))
    end = cost.finish(stages, took, slots)
    assert max(longest, total / slots) <= end <= total / slots + longest  # Graham's bound for list scheduling
    assert cost.finish(stages, took, 1) == total


def test_kinds_of_stages(suite_file):
    def kinds(method):
        return [{kind_of(s) for s in plan_of(suite_file(methods=f"[{method}]", seeds="2"))[1].stages()}]

    (plain,) = kinds("dcnv2")
    assert len(plain) == 1, "select, refit and evaluate of both seeds"
    for same in ("learning_rate: 1e-4", "max_epochs: 7", "patience: 1", "embedding_l2: 1e-6"):
        assert kinds(f"dcnv2: {{{same}}}") == [plain], same
    for other in ("cross_layers: 4", "batch_size: 128", "hidden: [8]", "batch_norm: true", "dropout: 0.4"):
        assert not kinds(f"dcnv2: {{{other}}}")[0] & plain, other
    assert not kinds("dcnv2: {embedding_l2: 0.0}")[0] & plain, "no penalty to compute"
    assert len(kinds(FLIP)[0]) == 2, "the pretraining is a kind of its own"


@pytest.mark.parametrize(
    ("protocol", "method", "users"),
    [("held-out", FLIP, 0.2), ("held-out", "deepfm", 1.0), ("as-released", "deepfm", 1.0)],
)
def test_the_steps_counted_are_the_steps_taken(suite_file, home, protocol, method, users):
    data = f"[planted-tiny: {{users: {users}}}]"
    settings = "{max_epochs: 2, batch_size: 256, patience: 9}"
    path = suite_file(data=data, methods=f"[{method}]", settings=settings, protocol=protocol, validation="last-ninth")
    rows = len(split.of_users(open_table("planted-tiny"), users))
    store, planned = plan_of(path)
    store.prepare()
    taken = 0

    def step_ended():
        nonlocal taken
        taken += 1
        return False

    for stage in planned.stages():
        calibrate([stage], step=1, rows=rows)
        taken = 0
        expected = cost.Costs(store, "cpu").of(stage)
        train_until(step_ended, partial(run_stage, stage, store, "cpu", 1))
        figures = store.metrics(stage)
        assert expected.seconds == taken, str(stage)
        assert expected.at_most == (stage.role in ("select", "fit"))
        calibrate([stage], row=1, rows=rows)
        if stage.role == "evaluate":
            assert cost.Costs(Store(home), "cpu").of(stage).seconds == figures["rows"]
        elif stage.role in ("select", "fit"):
            assert cost.Costs(Store(home), "cpu").of(stage).seconds == 2 * figures["rows"]["valid"]


def test_a_floor_is_one_step(suite_file, home):
    store, planned = plan_of(suite_file(methods="[bias]", settings=""))
    rates = measure(planned.stages()[0], "cpu")
    assert (rates.steps, rates.step > 0, rates.setup > 0, rates.row > 0) == (1, True, True, True)
    calibrate(planned.stages(), setup=3, step=4)
    assert {s.role: cost.Costs(store, "cpu").of(s).seconds for s in planned.stages()} == {
        "select": 7, "refit": 7, "evaluate": 3
    }  # fmt: skip


def test_usual_epochs_are_those_of_finished_selections(suite_file, home):
    path = suite_file(seeds="2", settings=f"{{{TINY}}}")
    store, planned = plan_of(path)
    stages = planned.stages()
    calibrate(stages, step=1, rows=2000)  # 1800 to train on, 1600 of them to select with: 7 steps an epoch
    second = {s.role: s for s in stages if s.seed == 1}
    assert cost.Costs(store, "cpu").of(second["select"]).seconds == 14
    assert cost.Costs(store, "cpu").of(second["refit"]).at_most
    work = store.work(stages[0])
    history = [{"epoch": 0, "auc": 0.6}, {"epoch": 1, "auc": 0.5}]
    env = {"device": "cpu", "cores": -1, "seconds": 1000.0}  # of another machine: the calibration stands
    store.commit(stages[0], {"metrics.json": {"best": history[0], "history": history}, "env.json": env})
    assert not work.exists()
    for role, steps in (("select", 14), ("refit", 8)):
        estimate = cost.Costs(store, "cpu").of(second[role])
        assert (estimate.seconds, estimate.at_most) == (steps, False)


def test_order_of_estimates(suite_file, home):
    store, planned = plan_of(suite_file(settings=f"{{{TINY}}}", seeds="2", methods="[dcnv2, deepfm]"))
    first, second = (s for s in planned.stages() if s.role == "evaluate" and s.method == "dcnv2")
    other = next(s for s in planned.stages() if s.role == "evaluate" and s.method == "deepfm")

    def source(stage, device="cpu"):
        estimate = cost.Costs(store, device).of(stage)
        return estimate and (estimate.source, estimate.seconds)

    assert source(second) is None
    env = {"device": "cpu", "cores": -1, "seconds": 1000.0, "peak_memory_mb": 321}
    store.work(first)
    store.commit(first, {"metrics.json": {}, "env.json": env})
    assert source(second) == ("measured", 1000)
    assert source(other) == ("alike", 1000)
    assert source(second, "cuda") is None, "the CPU says nothing of a GPU"
    calibrate([second, other], setup=5)
    assert source(second) == source(other) == ("calibrated", 5)
    here = json.loads((store.folder(first) / "env.json").read_text()) | {"cores": os.cpu_count()}
    (store.folder(first) / "env.json").write_text(json.dumps(here))
    assert source(second) == ("measured", 1000)
    assert cost.Costs(store, "cpu").of(second).memory_mb == 321
    (store.folder(first) / "spec.json").write_text("torn")
    assert source(second) == ("calibrated", 5)


def test_a_search_is_foreseen_to_its_end(suite_file, home):
    path = suite_file(settings=f"{{{TINY}}}".replace("epochs: 2", "epochs: 1"), tune="{budget: 3}", seeds="2")
    store, planned = plan_of(path)
    foreseen = cost.in_full(planned).needed(store)
    assert [s.role for s in foreseen].count("select") == 3 + 1, "a point each, and the second seed's"
    assert len(planned.needed(store)) == 3
    store.prepare()
    while stages := plan_of(path)[1].needed(store):
        for stage in stages:
            run_stage(stage, store, "cpu", 1)
    done = len(list(store.root.glob("*/*/*/DONE")))
    assert done in (len(foreseen), len(foreseen) + 1), "one more where the winner is not the declared point"
    decided = plan_of(path)[1]
    assert cost.in_full(decided) == decided
    rounds = suite_file(tune="{search: tpe, budget: 9, round: 2}")
    assert [s.role for s in cost.in_full(plan_of(rounds)[1]).needed(Store(home))].count("select") == 9


def test_a_budget_refuses_and_says_what_is_expected(suite_file, home, cli, refused, monkeypatch):
    monkeypatch.setattr(Pool, "run", lambda *_: pytest.fail("it has started"))
    path = suite_file(settings=f"{{{TINY}}}")
    nothing = "flipbench: --budget 8h: nothing is known of the cost of 3 stages (select planted-tiny"
    assert refused("run", path, "--device", "cpu", "--budget", "8h").startswith(nothing)
    code, _, error = cli("plan", path, "--device", "cpu", "--budget", "8h")
    assert (code, error.startswith(nothing)) == (1, True)
    calibrate(plan_of(path)[1].stages(), setup=3600)
    two = ("--device", "cpu", "--workers", "2")
    for verb in ("plan", "run"):
        code, _, error = cli(verb, path, *two, "--budget", "2h")
        assert (code, error) == (1, "flipbench: --budget 2h: at most 3 h 0 min expected on 2 slots\n")
    code, out, _ = cli("plan", path, *two, "--budget", "4h")
    assert code == 0
    assert "at most 3 h 0 min of work, done in at most 3 h 0 min on 2 slots, 200 MB" in out
    document = json.loads(cli("plan", path, "--device", "cpu", "--json")[1])
    assert [document[name] for name in ("work_seconds", "expected_seconds", "at_most")] == [10800, 10800, True]
    assert {s["known_from"] for s in document["stages"]} == {"calibrated"}


def test_calibrating_leaves_a_cache_and_nothing_else(suite_file, home, tmp_path, cli):
    path = suite_file(
        settings=f"{{{TINY}}}", methods="[dcnv2, afn: {embedding_dim: 4096, log_neurons: 1048576, hidden: [65536]}]"
    )
    code, out, err = cli("plan", path, "--device", "cpu", "--calibrate")
    assert code == 0
    assert "calibrate select planted-tiny afn s0: RuntimeError" in err, "many terabytes of weights"
    assert "ms a step" in err
    assert "3 are like none that has finished here" in out
    assert not (tmp_path / "results").exists()
    (rates,) = calibration.load("cpu").values()
    assert min(rates.step, rates.row) > 0
    assert rates.memory_mb > 50
    (file,) = (home / "calibration").glob("*.json")
    code, _, err = cli("plan", path, "--device", "cpu", "--calibrate", "--only", "model=dcnv2")
    assert (code, "calibrate" in err) == (0, False), "known by now"
    file.write_text(file.read_text()[:-40])
    assert calibration.load("cpu") == {}, "a damaged file is none"
    calibration.save("cuda", {"a": rates})
    assert calibration.load("cuda") == {"a": rates}


def dies(stage):
    os.kill(os.getpid(), signal.SIGKILL)


def is_refused(stage):
    raise UserError("no")


class TwoPartsError(Exception):
    """Of a class that cannot be sent between processes: it is made of two parts, and keeps one."""

    def __init__(self, first, second):
        super().__init__(first)


def raises_two_parts(stage):
    raise TwoPartsError("one", "two")


def test_failed_measurements_are_reported():
    stages = {"a": Stage("fit", {"number": 1}), "b": Stage("fit", {"number": 2})}
    for look, said in ((dies, "its process ended"), (is_refused, "no"), (raises_two_parts, "TwoPartsError: one")):
        errors = dict(of_each(stages, look, 2))
        assert errors.keys() == stages.keys()
        assert all(said in str(error) for error in errors.values())
    began = time.monotonic()
    iteration = of_each({**stages, "c": Stage("fit", {"number": 3})}, sleeps_but_first, 2)
    assert next(iteration) == ("a", 1)
    iteration.close()
    assert time.monotonic() - began < 60
    assert not multiprocessing.active_children()


def pages(stage):
    return os.environ[TUNABLES]


def test_a_look_is_a_process_with_large_pages_as_workers_are():
    expected = os.environ.get(TUNABLES, "glibc.malloc.hugetlb=1")
    assert dict(of_each({"a": Stage("fit", {"number": 1})}, pages, 1)) == {"a": expected}


def sleeps_but_first(stage):
    if stage.spec["number"] > 1:
        time.sleep(600)
    return 1
