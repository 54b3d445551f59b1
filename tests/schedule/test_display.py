import io

from rich.console import Console

from flipbench.plan.stage import Stage
from flipbench.schedule.display import Display, duration


def stage(seed):
    return Stage("select", {"dataset": "d", "method": "m", "seed": seed, "role": "select"})


def test_elsewhere_than_on_a_terminal_it_is_one_plain_line_a_stage(capsys):
    first, second = stage(0), stage(1)
    with Display("t", [first, second], {}, 1) as display:
        display.started(0, first)
        display.ticked(0, first, {"epoch": 0, "epochs": 3, "share": 0.5, "auc": None})
        display.finished(0, first, {"best": {"epoch": 1, "auc": 0.75, "logloss": 0.5}}, 12.3)
        display.started(0, second)
        display.failed(0, second, "its process ended (SIGKILL)")
    output = capsys.readouterr()
    assert output.out == "", "data to stdout, progress to stderr"
    assert output.err.splitlines() == [
        "[1/2] select d m s0  valid AUC 0.7500 logloss 0.5000  epoch 2  12 s",
        "[2/2] select d m s1  FAILED: its process ended (SIGKILL)",
    ]


def test_a_note_leaves_the_live_bars_whole(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr("flipbench.schedule.display.Console", lambda **_: console)
    with Display("t", [stage(0)], {}, 1) as display:
        display.started(0, stage(0))
        display.live.refresh()
        before = len(screen.getvalue())
        display.noted("3 x select d m s0: not stacked (MemoryError: )")
        display.live.refresh()
        drawn = screen.getvalue()[before:]
    erased, note, bars = (drawn.find(part) for part in ("\x1b[2K", "not stacked (MemoryError: )", "1 running"))
    assert 0 <= erased < note < bars, "the bars are taken away, the note is printed, and they are drawn anew below it"


def test_time_left_comes_from_measurements_alone():
    stages = [stage(i) for i in range(3)]
    assert Display("t", stages, {}, 1)._time_left() == "time left unknown yet"
    assert Display("t", stages, {s.key: 60.0 for s in stages}, 2)._time_left() == "~ 2 min left"
    display = Display("t", stages, {}, 1)
    display.started(0, stages[0])
    display.finished(0, stages[0], {"auc": 0.5, "logloss": 0.7}, 40.0)
    assert display._time_left() == "~ 80 s left"


def test_durations_read_well():
    assert [duration(s) for s in (3.2, 89, 600, 11_400)] == ["3 s", "89 s", "10 min", "3 h 10 min"]
