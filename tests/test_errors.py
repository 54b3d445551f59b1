"""An error line is one line, whatever the user's text in it."""

import pickle

import pytest

from flipbench.errors import UserError, shorten


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a label", "a label"),
        ("Amélie 北京", "Amélie 北京"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b]8;;http://x\x07", r"\x1b[31mred\x1b]8;;http://x\x07"),
        ("\u202eabc\u200b", r"\u202eabc\u200b"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_printable_is_an_escape(given, shown):
    error = UserError(f"mini.yaml: unknown key '{given}'")
    assert str(error) == f"mini.yaml: unknown key '{shown}'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as one of a worker process comes back


def test_long_text_is_cut():
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 81) == "a" * 79 + "…"
