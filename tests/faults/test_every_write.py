"""A command killed at one of its writes, run again: the same bytes as undisturbed, and the evidence verifies.

``FLIPBENCH_STORM=1 pytest tests/faults/test_every_write.py`` kills at every write of a search, not at a few of them.
"""

import os
import random
import signal
import sys
from pathlib import Path

import pytest

SETTINGS = "{max_epochs: 2, batch_size: 256, embedding_dim: 4, hidden: [8]}"
FEW = 2

KILLER = '''
"""Counts what the command and its workers do to files of the results folder, and kills them all at the given one."""
import os, signal, sys

root, at, log = os.environ["KILL_ROOT"], int(os.environ["KILL_AT"]), os.environ["KILL_LOG"]
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}

def kill(event, arguments):
    path = os.fspath(arguments[0]) if arguments and isinstance(arguments[0], (str, os.PathLike)) else ""
    changes = event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if changes and (path == root or path.startswith(root + "/")):
        done = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(done, f"{event} {path}\\n".encode())
        os.close(done)
        with open(log, "rb") as file:
            if len(file.readlines()) == at:
                os.killpg(0, signal.SIGKILL)

sys.addaudithook(kill)
'''


@pytest.fixture
def killed(tmp_path, start, monkeypatch):
    """Runs a suite into a folder, killed at its n-th change of a file there; returns the exit code and the changes."""
    (tmp_path / "killer").mkdir()
    (tmp_path / "killer" / "sitecustomize.py").write_text(KILLER)

    def run(path: Path, results: Path, at: int) -> tuple[int, list[str]]:
        log = results.with_suffix(".log")
        with monkeypatch.context() as patch:
            patch.setenv("PYTHONPATH", str(tmp_path / "killer"))
            patch.setenv("KILL_ROOT", str(results))
            patch.setenv("KILL_AT", str(at))
            patch.setenv("KILL_LOG", str(log))
            code, _ = start(path, "--workers", 1, "--device", "cpu", "--results", results).end()
        return code, log.read_text().splitlines()

    return run


def tear(file: Path) -> None:
    """Leave half a record at the end of a file of records, as a full disk or a power cut does."""
    if file.is_file() and file.suffix in (".jsonl", ".journal"):
        with file.open("ab") as records:
            records.write(b'{"half')


def test_killed_at_a_write(suite_file, tmp_path, killed, predicted, cli, start, capsys):
    path = suite_file(methods="[dcnv2]", settings=SETTINGS, seeds="2", tune="{budget: 2}")
    code, changes = killed(path, tmp_path / "calm", 0)
    assert code == 0
    calm = predicted(tmp_path / "calm")
    seed = random.randrange(1 << 32)
    moments = range(1, len(changes) + 1)
    if not os.environ.get("FLIPBENCH_STORM"):
        moments = random.Random(seed).sample(moments, FEW)
    deaths = 0
    for at in moments:
        stormy, reports = tmp_path / f"killed-{at}", tmp_path / f"reports-{at}"
        code, done = killed(path, stormy, at)
        assert code == (-signal.SIGKILL if len(done) >= at else 0), f"at {at} of {len(changes)} (seed {seed})"
        if not code:
            continue  # a lock that is waited for is opened again, now more often, now less
        deaths += 1
        event, file = done[at - 1].split(" ", 1)
        with capsys.disabled():
            print(f"killed at {at}: {event} {Path(file).relative_to(stormy)}", file=sys.stderr)
        if event == "open":
            tear(Path(file))
        code, said = start(path, "--workers", 1, "--device", "cpu", "--results", stormy).end()
        assert code == 0, said
        assert predicted(stormy) == calm
        assert not list(stormy.glob("*/*/*.failed.json"))
        assert not list((stormy / ".work").glob("*/")), "nothing is left in progress"
        assert cli("report", path, "--results", stormy, "--reports", reports, "--no-figures")[0] == 0
        code, out, err = cli("verify", path, "--results", stormy, "--reports", reports)
        assert code == 0, out + err
    assert deaths
