"""Text from elsewhere (titles, labels, reasons of failures, paths) as it may be shown: text, and nothing else."""

import re

ASCII = str.maketrans({"±": "+/-", "—": "-", "−": "-", "·": "|", "≈": "=", "↑": ">", "↓": "<", "†": "!", "‡": "#",
                       "⊘": "x", "→": "->"})  # fmt: skip
"""What stands for the signs of tables and lines where there is only ASCII."""

_LEFT_BY_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, or turns the reading direction, or has no bytes; a JSON document escapes the others itself."""


def one_line(text: str) -> str:
    """Text on one line: blanks for white space, and what is not seen, or would command the terminal, as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else escape(c) for c in text)


def json_line(document: str) -> str:
    """A JSON document in which no text commands the terminal; the same document to a reader."""
    return _LEFT_BY_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler, for a stream that has not all characters: their likes in ASCII, else their escapes."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(c if c.isascii() else escape(c) for c in lost.translate(ASCII)), error.end


def escape(character: str) -> str:
    """A character as Python spells it in a text: ``\\x1b``."""
    return character.encode("unicode_escape").decode()
