"""Shared fixtures: no test touches the user's data, results or environment."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One folder of prepared tables for the whole session: generated data is made once."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIPBENCH_HOME", str(home))
        patch.setenv("NO_COLOR", "1")
        yield home


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A module's own home: in the shared one, real data would be found by tests without, and tables by made-up runs."""
    home = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLIPBENCH_HOME", str(home))
        yield home


@pytest.fixture(autouse=True, scope="module")
def own_processor_state() -> Iterator[None]:
    """Training flushes denormals to zero, for the whole process; the next module's tests may draw them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def suite_file(tmp_path: Path):
    """Writes a suite file named ``mini`` with the given text changes; returns its path."""

    def write(text: str = "", **changes: str) -> Path:
        lines = {
            "suite": "mini",
            "title": "A small suite",
            "data": "[planted-tiny]",
            "refit": "true",  # the longest chain of stages
            "methods": "[dcnv2]",
            "settings": "{max_epochs: 1, batch_size: 256}",
            "outputs": f"{{results: {tmp_path / 'results'}, reports: {tmp_path / 'reports'}}}",
            **changes,
        }
        path = tmp_path / "mini.yaml"
        path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items() if v) + text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def staged(suite_file):
    """Writes a suite file with the given changes; returns it, its store and its stages, parents first."""
    from flipbench.plan import suite
    from flipbench.store.planning import plan_of, store_of

    def write(**changes: str):
        path = suite_file(**changes)
        mini = suite.load(str(path))
        store = store_of(mini)
        store.prepare()
        return path, store, plan_of(mini, store).stages()

    return write


@pytest.fixture
def cli(capsys):
    """Calls the command line in this process; returns the exit code, standard output and standard error."""
    from flipbench.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def refused(cli):
    """Calls the command line with a mistake in what it is given; returns the one line that says so."""

    def call(*arguments: object) -> str:
        code, out, err = cli(*arguments)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        return err

    return call


class Command(subprocess.Popen):
    """``flipbench run`` with the arguments, in a process group of its own."""

    def __init__(self, *arguments: object) -> None:
        line = [sys.executable, "-m", "flipbench", "run", *map(str, arguments)]
        heard = signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # a background job ignores it, its children too
        super().__init__(line, stderr=subprocess.PIPE, text=True, start_new_session=True)
        signal.signal(signal.SIGINT, heard)

    def end(self, timeout: float = 480) -> tuple[int, str]:
        """Wait for it; its exit code and standard error."""
        _, stderr = self.communicate(timeout=timeout)
        return self.returncode, stderr


@pytest.fixture(scope="session")
def start():
    """Starts ``flipbench run``; ``end()`` of what it returns waits for it."""
    return Command


@pytest.fixture(scope="session")
def predicted():
    """The bytes of every file of predictions in a results folder."""

    def of(root: Path) -> dict[str, bytes]:
        files = sorted(root.glob("*/*/evaluate-*/predictions.parquet"))
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    return of


@pytest.fixture
def home(tmp_path, monkeypatch, shared_home):
    """A home with the session's prepared data, and calibrations and counts of its own."""
    from flipbench.data.store import fingerprint

    (tmp_path / "home").mkdir()
    fingerprint("planted-tiny")
    (tmp_path / "home" / "data").symlink_to(shared_home / "data")
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def stored_runs():
    """Fills a store with finished runs of a plan, as the engine would have left them but for weights.

    ``strength`` gives a row's separation of clicks from non-clicks; more is better. Seeds move it a little.
    ``test`` are the rows, made up if None; ``figures`` are recorded beside the scores.
    """
    import numpy as np

    from flipbench import metrics
    from flipbench.data.split import Rows
    from flipbench.store.predictions import write_predictions

    env = {"torch": "2.13.0", "device": "cpu", "seconds": 1.0, "cores": 2, "threads": 1}

    def ancestors(stage):
        for parent in stage.parents.values():
            yield from (parent, *ancestors(parent))

    def fill(plan, store, strength, rows=400, users=40, seed_spread=0.02, test=None, **figures):
        store.prepare()
        random = np.random.default_rng(0)
        labels = (random.random(rows) < 0.5).astype(np.uint8)
        noise = random.normal(size=rows)
        who = np.sort(random.integers(users, size=rows)).astype(np.int32)
        if test is None:
            test = Rows(np.zeros((rows, 0), np.int32), labels, who)
        else:
            rows, labels, noise = len(test), test.labels, random.normal(size=len(test))
        for cell in plan.cells:
            if cell.method.label not in strength:
                continue
            for stage in cell.evaluations:
                luck = np.random.default_rng([stage.seed, len(cell.method.label), *cell.method.label.encode()])
                sharp = strength[cell.method.label] * (1 + seed_spread * luck.normal())
                logits = (sharp * (2.0 * labels - 1) + noise + 0.1 * luck.normal(size=rows)).astype(np.float32)
                write_predictions(store.work(stage) / "predictions.parquet", test, logits)
                scores = {"auc": metrics.auc(labels, logits), "logloss": metrics.logloss(labels, logits)}
                scores |= {"rows": rows, "positives": int(labels.sum()), "epochs": 1, **figures}
                for done in (stage, *ancestors(stage)):
                    (store.work(done) / "events.jsonl").touch()
                    epoch = {"epoch": 0, "auc": 0.5, "logloss": 0.7}
                    fitted = {"best": epoch, "history": [epoch], "weights": done.key}
                    store.commit(done, {"metrics.json": scores if done is stage else fitted, "env.json": env})

    return fill
