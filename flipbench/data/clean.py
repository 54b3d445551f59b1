"""Text fields of raw files as they were meant: one spelling of a title or a publisher makes one feature, not two.

Every reader cleans its titles and names here, in this order, and counts what it did:

* HTML entities that end in a semicolon are resolved, also doubly escaped ones (``Carroll &amp;amp; Graf``).
* UTF-8 that was read as Latin-1 or cp1252, once or several times over, is read anew (``AmÃ©lie``), also where a copy
  has lost one byte of it to a question mark (``AmÃ?Â©lie``, as in BookCrossing's dump).
* The source of a page in place of a text (Amazon's metadata have whole scripts as titles) is no text: ``unknown``.
* Tags, control characters and signs without width are taken out, letters that are composed of several signs put
  together, and runs of white space made one blank.
"""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

UNKNOWN = "unknown"
"""What stands for a text that is missing."""

_ROUNDS = 4
"""How often a text may have been escaped or read wrongly; more is not undone."""

_SUSPECT = re.compile(r"[^ -~]|[&<{]|  |\(\)")
"""What no clean text has; without any of it a text is left as it is."""

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,30});")

_CP1252 = {byte: bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0)}
"""The signs of cp1252 by the bytes that Latin-1 takes for control characters; empty for five of them."""
_BYTE = {sign: byte for byte, sign in _CP1252.items() if sign}
_QUOTES = "‘’“”•–…„"
_NEXT = "\x80-\xbf" + "".join(sorted(_BYTE))
_TWICE = re.compile(
    "[Â-ß][\x80-\x9f]|[à-ï](?:[\x80-\x9f][\x80-\xbf]|[\xa0-\xbf][\x80-\x9f])"  # control characters are in no text
    f"|[ÂÃ](?![{_QUOTES}—])[{_NEXT}]|(?<![A-ZÀ-Þ])Ã[{_QUOTES}](?=[a-zß-ÿ])|Å“(?=[a-z])"  # AMANHÃ” ends in a quote
    f"|â[€„][{_NEXT}]"
)
"""The signs of two or three bytes in UTF-8, of letters that Latin-1 has and œ, or of quotes, dashes and trade marks."""
_THRICE = re.compile("Ã\\?Â(?=[\xa0-\xbf])")
"""The first three signs of a letter's four, the second lost."""
_SHARP_S = re.compile("(?<=[a-zß-ÿ])Ã\\?Â\\?")
"""Two signs lost: a letter from À to ß, of which a word that has begun in small letters can hold the last alone."""
_LOST = re.compile("Â\\?|\ufffd")

_SOURCE = re.compile(
    r"<(?:script|style|html|head|body)\b|\bgetTime\(\)|\bfunction\(\w*\)\s*\{|\{\s*[\w-]+\s*:[^{}]*\}", re.IGNORECASE
)
_TAGS = re.compile(
    r"<!--.{0,1000}?-->|</?(?:a|abbr|b|big|blockquote|br|center|cite|code|dd|div|dl|dt|em|font|h[1-6]|hr|i|img|input|li"
    r"|link|meta|ol|p|pre|q|s|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul)(?:\s[^<>]*)?/?>",
    re.IGNORECASE | re.DOTALL,
)
_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ud800-\udfff]"
)


class Cleaner:
    """Cleans texts, and counts by kind the ones that it changed.

    Attributes:
        count: texts by what was wrong with them, in the words of a table's notes.
    """

    def __init__(self) -> None:
        self.count = Counter[str]()

    def __call__(self, text: str) -> str:
        """The clean text; empty where nothing of it is left, ``unknown`` for a page's source."""
        if not _SUSPECT.search(text):
            return text.strip()
        found = self.count
        text = _noted(found, "texts_with_html_entities", text, _unescaped(text))
        text = _noted(found, "texts_doubly_encoded", text, _read_anew(text))
        found["texts_with_lost_letters"] += bool(_LOST.search(text))
        if _SOURCE.search(text):
            found["texts_of_page_source"] += 1
            return UNKNOWN
        text = _noted(found, "texts_with_tags", text, _TAGS.sub(" ", text))
        text = _noted(found, "texts_with_invisible_signs", text, _INVISIBLE.sub("", text))
        return " ".join(unicodedata.normalize("NFC", text).split())

    def known(self, texts: Iterable[str | None]) -> list[str]:
        """The clean texts, ``unknown`` for those that are missing or empty."""
        return [self(text or "") or UNKNOWN for text in texts]

    def meta(self) -> dict[str, Any]:
        """For a table's notes: how many texts had what."""
        return {what: number for what, number in sorted(self.count.items()) if number}


def _noted(count: Counter[str], what: str, before: str, after: str) -> str:
    count[what] += before != after
    return after


def _unescaped(text: str) -> str:
    """Without HTML entities, also where they were escaped themselves."""
    for _ in range(_ROUNDS):
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text


def _read_anew(text: str) -> str:
    """Without doubly encoded letters: each round undoes one reading with the wrong encoding."""
    text = _SHARP_S.sub("ß", _THRICE.sub("Ã\x83Â", text))
    for _ in range(_ROUNDS):
        text = _TWICE.sub(_decoded, text)
    return text.translate(_CP1252)


def _decoded(signs: re.Match[str]) -> str:
    try:
        return bytes(_BYTE.get(sign, ord(sign)) for sign in signs[0]).decode()
    except UnicodeDecodeError:
        return signs[0]
