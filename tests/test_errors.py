"""An error line is one line, whatever the user's text in it."""

import pickle

import pytest

from flipbench.errors import UserError, shorten


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a label", "a label"),
        ("Amélie 北京", "Amélie 北京"),
        ("a\nb\r\tc", "a b  c"),
        ("\x1b[31mred\x1b]8;;http://x\x07", r"\x1b[31mred\x1b]8;;http://x\x07"),
        ("\u202eabc\u200d", "\\u202eabc\\u200d"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_would_command_a_terminal_is_an_escape(given, shown):
    error = UserError(f"mini.yaml: unknown key '{given}'")
    assert str(error) == f"mini.yaml: unknown key '{shown}'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as one of a worker process comes back


def test_long_text_is_cut():
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 81) == "a" * 79 + "…"
