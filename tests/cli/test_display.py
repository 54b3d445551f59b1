import io

import pytest
from rich.console import Console

from flipbench.api import Failed, Finished, Note, Planned, Progress, Started
from flipbench.cli.display import Display
from flipbench.cost.estimate import duration
from flipbench.plan.stage import Stage

STAGES = tuple(Stage("select", {"dataset": "d", "method": "m", "seed": i, "role": "select"}) for i in range(3))


def test_off_a_terminal_it_is_one_plain_line_a_stage(capsys):
    first, second, _ = STAGES
    with Display() as display:
        for event in (
            Planned("t", STAGES[:2], {}, 1),
            Started(0, first),
            Progress(0, first, epoch=0, epochs=3, share=0.5, auc=None),
            Finished(0, first, {"best": {"epoch": 1, "auc": 0.75, "logloss": 0.5}}, 12.3),
            Started(0, second),
            Failed(0, second, "its process ended (SIGKILL)"),
        ):
            display(event)
    output = capsys.readouterr()
    assert output.out == "", "data to stdout, progress to stderr"
    assert output.err.splitlines() == [
        "[1/2] select d m s0  valid AUC 0.7500 logloss 0.5000  epoch 2  12 s",
        "[2/2] select d m s1  FAILED: its process ended (SIGKILL)",
    ]


def test_a_note_leaves_the_live_bars_whole(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr("flipbench.cli.display.Console", lambda **_: console)
    with Display() as display:
        display(Planned("t", STAGES[:1], {}, 1))
        display(Started(0, STAGES[0]))
        display.live.refresh()
        before = len(screen.getvalue())
        display(Note("3 x select d m s0: not stacked (MemoryError: )"))
        display.live.refresh()
        drawn = screen.getvalue()[before:]
    erased, note, bars = (drawn.find(part) for part in ("\x1b[2K", "not stacked (MemoryError: )", "1 running"))
    assert 0 <= erased < note < bars, "the bars are taken away, the note is printed, and they are drawn anew below it"


@pytest.mark.parametrize(
    ("seconds", "slots", "done", "shown"),
    [
        ({}, 1, False, "time left unknown yet"),
        ({stage.key: 60.0 for stage in STAGES}, 2, False, "~ 2 min left"),
        ({}, 1, True, "~ 80 s left"),
    ],
)
def test_time_left_comes_from_measurements_alone(seconds, slots, done, shown):
    display = Display()
    display(Planned("t", STAGES, seconds, slots))
    if done:
        display(Finished(0, STAGES[0], {"auc": 0.5, "logloss": 0.7}, 40.0))
    assert display._time_left() == shown


def test_durations_read_well():
    assert [duration(s) for s in (3.2, 89, 600, 11_400)] == ["3 s", "89 s", "10 min", "3 h 10 min"]
