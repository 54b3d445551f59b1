"""A search whose commands are killed again and again, against one that nobody disturbed.

``FLIPBENCH_STORM=1 pytest tests/faults/test_storm.py`` is the full form: 24 points of 3 models, 10 kills.
"""

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from flipbench import api

FULL = bool(os.environ.get("FLIPBENCH_STORM"))
METHODS, POINTS, KILLS = (("dcnv2", "afm", "deepfm"), 24, 10) if FULL else (("dcnv2", "afm"), 4, 3)
SETTINGS = "{max_epochs: 1, batch_size: 256}" if FULL else "{max_epochs: 1, batch_size: 256, embedding_dim: 8}"


def finished(results: Path) -> int:
    return len(list(results.glob("*/*/*/DONE")))


def table(path: Path, results: Path) -> list[dict[str, object]]:
    """The cells of the suite's table, with all their figures."""
    report = api.report(api.load_suite(path, results=results), results / "reports", figures=False)
    return report.table.as_dict()["cells"]


def trials(results: Path) -> dict[str, dict[str, float]]:
    """Of every study, each trial's figure by its stage's key; fails where a stage is there twice."""
    storage = JournalStorage(JournalFileBackend(str(results / "studies" / "mini.journal")))
    values = {}
    for study in storage.get_all_studies():
        of_study = storage.get_all_trials(study._study_id)
        values[study.study_name] = {trial.user_attrs["key"]: trial.value for trial in of_study}
        assert len(values[study.study_name]) == len(of_study), "a point is in its study twice"
    return values


def test_search_survives_a_storm_of_kills(suite_file, tmp_path, capsys, predicted, start):
    rows = f"[{', '.join(METHODS)}]"
    path = suite_file(methods=rows, settings=SETTINGS, seeds="2", tune=f"{{budget: {POINTS}}}")
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    options = ("--workers", 2, "--device", "cpu", "--results")
    code, said = start(path, *options, calm).end(1800)
    assert code == 0, said
    seed = time.time_ns()
    moments = random.Random(seed)
    share = finished(calm) / KILLS
    killed = 0
    for kill in range(KILLS):
        before = finished(stormy)
        target = before + moments.uniform(0, share)
        with start(path, *options, stormy) as process:
            while finished(stormy) < target and process.poll() is None:
                time.sleep(0.02)
            time.sleep(moments.uniform(0, 0.2))  # within a stage, or between two; all may be done in a second
            with contextlib.suppress(ProcessLookupError):  # all was done before it came to that
                os.killpg(process.pid, signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        with capsys.disabled():
            print(f"kill {kill + 1} at {before} + {finished(stormy) - before} stages (seed {seed})", file=sys.stderr)
    code, said = start(path, *options, stormy).end(1800)
    assert code == 0, said

    assert killed, "no command was killed at its work"
    assert [len(of_study) for of_study in trials(stormy).values()] == [POINTS] * len(METHODS)
    assert trials(stormy) == trials(calm)
    assert len(predicted(calm)) == 2 * len(METHODS)
    assert predicted(stormy) == predicted(calm)
    assert table(path, stormy) == table(path, calm)
    assert not list(stormy.glob("*/*/*.failed.json")), "a kill is no failure of the stage"
    assert not list((stormy / ".work").glob("*/")), "nothing is left in progress"
    assert finished(stormy) == finished(calm)
    with capsys.disabled():
        print(
            f"{KILLS} kills, {finished(stormy)} stages, same table and trials; {said.splitlines()[-1]}", file=sys.stderr
        )
