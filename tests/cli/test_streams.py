"""Standard streams that are closed, full, without a reader or in ASCII, and Ctrl-C at any time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flipbench.plan import suite
from flipbench.store.planning import plan_of
from flipbench.store.runs import Store

FLIPBENCH = f"{sys.executable} -m flipbench"


def shell(line, cwd, **environment):
    """A shell's line; exit code, standard output and standard error."""
    env = os.environ | {"COLUMNS": "80", **environment}
    done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=cwd, env=env, timeout=300)
    said = done.stderr.decode()
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return done.returncode, done.stdout.decode(), said


@pytest.fixture
def ran(suite_file, stored_runs):
    """The folder of a suite that has run."""
    path = suite_file(methods="[constant]", settings="", title="'A title — of β'")
    store = Store(path.parent / "results")
    stored_runs(plan_of(suite.load(str(path)), store), store, {"constant": 0.5})
    return path.parent


@pytest.mark.parametrize("words", ["list models", "report mini.yaml --no-figures", "claims --json", "--help"])
def test_a_full_stdout_is_one_line(words, ran):
    code, _, said = shell(f"{FLIPBENCH} {words} > /dev/full", ran)
    assert (code, said.splitlines()[-1]) == (1, "flipbench: standard output: No space left on device")
    assert said.count("\n") == 1 + said.count("wrote ")


@pytest.mark.parametrize("words", ["list models --json", "report mini.yaml --no-figures"])
def test_a_closed_stdout_asks_for_no_output(words, ran):
    code, _, said = shell(f"{FLIPBENCH} {words} >&-", ran)
    assert code == 0
    assert said.count("\n") == said.count("wrote ")


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_what_is_for_stderr_never_lands_in_stdout(closed, ran):
    code, out, _ = shell(f"{FLIPBENCH} report mini.yaml --no-figures --json {closed}", ran)
    assert code == 0
    assert json.loads(out)["title"] == "A title — of β"
    assert shell(f"{FLIPBENCH} status no.yaml {closed}", ran) == (1, "", "")


@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- >&- 2>&-"])
def test_a_run_needs_nobody_to_talk_to(streams, ran):
    assert shell(f"{FLIPBENCH} run mini.yaml --workers 1 --device cpu --results other {streams}", ran)[0] == 0
    assert len(list(ran.glob("other/*/*/evaluate-*/predictions.parquet"))) == 1


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1"])
def test_a_stream_with_few_letters(encoding, ran):
    for words in ("status mini.yaml", "report mini.yaml --no-figures"):
        code, out, said = shell(f"{FLIPBENCH} {words} | iconv -f latin1 -t utf8", ran, PYTHONIOENCODING=encoding)
        assert (code, said.count("\n")) == (0, said.count("wrote ") + said.count("not recomputed"))
        sign = "|" if encoding.startswith("ascii") else "·"
        assert f"mini {sign} held-out: 1 of 1 runs done" in out or "A title - of " in out
    document = shell(f"{FLIPBENCH} report mini.yaml --no-figures --json", ran, PYTHONIOENCODING=encoding)[1]
    assert json.loads(document)["title"] == "A title — of β", "to a reader of JSON nothing is lost"


def test_a_reader_that_leaves_is_no_error(ran):
    code, out, said = shell(f"set -o pipefail; {FLIPBENCH} claims --json | head -1", ran)
    assert (code, out, said) == (0, "[\n", "")


# Ctrl-C


def interrupt(words, folder, when, **environment):
    """Send Ctrl-C to all processes of a command, as a terminal does, once ``when`` is true; exit code and stderr."""
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, its children too
    command = [sys.executable, "-c", "from flipbench.cli import main; raise SystemExit(main())", *words]
    env = os.environ | environment
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=env,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, heard)
    while process.poll() is None and not when(process.pid):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    return process.returncode, said


STOPPED = "flipbench: stopped; the same command continues where it was\n"


def has_open(name):
    """Whether a process or a child of it has mapped or opened a file with this in its path."""

    def look(pid):
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            maps = "".join(Path(f"/proc/{each}/maps").read_text() for each in (pid, *children))
        except OSError:
            return False
        return name in maps

    return look


def test_an_interrupt_while_modules_are_imported(ran):
    """From the first import on, at whatever module: a file of pyarrow's is read, say."""
    hook = """
import os, signal, sys
class Finder:
    seen = 0
    def find_spec(self, name, path=None, target=None):
        Finder.seen += "flipbench" in name or Finder.seen > 0
        if Finder.seen == int(os.environ["AT"]):
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
from flipbench.cli import main
sys.exit(main())
"""
    for at in (3, 6, 20, 80, 320):
        env = os.environ | {"AT": str(at)}
        command = [sys.executable, "-c", hook, "report", "mini.yaml", "--no-figures"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ran, env=env, timeout=120)
        assert (done.returncode, done.stderr) == (130, STOPPED), at


def test_an_interrupt_of_a_report(ran):
    assert interrupt(["report", "mini.yaml"], ran, has_open("matplotlib/ft2font")) == (130, STOPPED)


@pytest.mark.parametrize("when", ["libtorch_cpu", "in the server"])
def test_an_interrupt_of_a_calibration(when, ran, home):
    """While torch is loaded here, and while the server that measuring processes come from loads it."""

    def loads(pid):
        children = Path(f"/proc/{pid}/task/{pid}/children")
        try:
            return any(
                "libtorch_cpu" in Path(f"/proc/{each}/maps").read_text() for each in children.read_text().split()
            )
        except OSError:
            return False

    words = ["plan", "mini.yaml", "--calibrate", "--device", "cpu", "--results", "other"]
    code, said = interrupt(words, ran, has_open(when) if when == "libtorch_cpu" else loads)
    assert (code, said) == (130, STOPPED)


def test_workers_never_hear_of_an_interrupt(suite_file):
    path = suite_file(methods="[afm]", seeds="2")

    def begun(pid):
        try:
            return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) >= 2
        except OSError:
            return False

    words = ["run", "mini.yaml", "--workers", "2", "--device", "cpu"]
    assert interrupt(words, path.parent, begun) == (130, STOPPED)
