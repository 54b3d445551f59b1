"""Cleaning of text fields: known values, what must stay as it is, and texts that are made to hurt."""

import time
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flipbench.data.clean import Cleaner

DIRTY = {
    "an entity": ("Carroll &amp; Graf", "Carroll & Graf", "html_entities"),
    "an entity escaped again": ("Carroll &amp;amp; Graf", "Carroll & Graf", "html_entities"),
    "entities by number": ("&#20013;&#x56fd;", "中国", "html_entities"),
    "UTF-8 read as Latin-1": ("AmÃ©lie", "Amélie", "doubly_encoded"),
    "read so twice": ("AmÃ\x83Â©lie", "Amélie", "doubly_encoded"),
    "read so twice, a byte lost": ("AmÃ?Â©lie", "Amélie", "doubly_encoded"),
    "its last byte a blank": ("Livre Ã?Â\xa0 la carte", "Livre à la carte", "doubly_encoded"),
    "both bytes lost within a word": ("StraÃ?Â?e", "Straße", "doubly_encoded"),
    "UTF-8 read as cp1252": ("Ã–sterreich und GroÃŸbritannien", "Österreich und Großbritannien", "doubly_encoded"),
    "œ read as cp1252": ("SÅ“ur", "Sœur", "doubly_encoded"),
    "a quote read as cp1252": ("Donâ€™t", "Don’t", "doubly_encoded"),
    "cp1252 read as Latin-1": ("Don\x92t", "Don’t", "doubly_encoded"),
    "tags": ("The <b>Hobbit</b><br/>", "The Hobbit", "tags"),
    "tags as entities": ("The &lt;i&gt;Hobbit&lt;/i&gt;", "The Hobbit", "tags"),
    "a sign without width": ("\ufeffThe Hob\u200bbit", "The Hobbit", "invisible_signs"),
    "a command to a terminal": ("The \x1bHobbit", "The Hobbit", "invisible_signs"),
}


@pytest.mark.parametrize(("text", "meant", "what"), DIRTY.values(), ids=DIRTY)
def test_texts_are_read_as_they_were_meant_and_counted(text: str, meant: str, what: str) -> None:
    clean = Cleaner()
    assert clean(text) == clean(meant) == meant
    assert clean.meta()[f"texts_{'with_' if what != 'doubly_encoded' else ''}{what}"] == 1


@pytest.mark.parametrize(
    "source",
    [
        "var aPageStart = (new Date()).getTime();",
        '<script type="text/javascript">x</script>',
        "&lt;style&gt; a",
        ".a-box-inner{background-color:#fff} Puzzle",
        "P.when('A').execute(function(A) { A.on",
    ],
)
def test_the_source_of_a_page_is_no_text(source: str) -> None:
    clean = Cleaner()
    assert clean(source) == "unknown"
    assert clean.meta()["texts_of_page_source"] == 1


AS_IT_IS = [
    *("Barnes & Noble", "R&D; Q&A", "A &copy B", "<3", "1 < 2 > 0", "Less <Than> Zero", "Multi function (red) {new}"),
    *("CAFÉ”", "“AMANHÃ”", "AMANHÃ—já", "Â la carte", "Voilà…", "Ã?Â?berall", "Why? Â", "中国", "naïve", "Ã", "©"),
]


@pytest.mark.parametrize("text", AS_IT_IS)
def test_what_is_no_fault_or_cannot_be_told_stays(text: str) -> None:
    assert Cleaner()(text) == text


def test_missing_texts_are_unknown_and_lost_letters_counted() -> None:
    clean = Cleaner()
    assert clean.known([None, "", " \n", "\u200b", "Ã?Â?ber", "Caf\ufffd"]) == ["unknown"] * 4 + [
        "Ã?Â?ber",
        "Caf\ufffd",
    ]
    assert clean.meta() == {"texts_with_invisible_signs": 1, "texts_with_lost_letters": 2}


LETTERS = st.text("abcXYZ é&è", max_size=5) | st.text("abcäöüßéèêëàâçñîïôûæœ’“”–™…ÀÉÖÜ ", max_size=20)


@given(LETTERS, st.integers(1, 3))
def test_every_round_of_a_wrong_encoding_is_undone(text: str, rounds: int) -> None:
    wrong = text
    for _ in range(rounds):
        wrong = wrong.encode().decode("latin-1")
    assert Cleaner()(wrong) == Cleaner()(text)


@given(st.text() | st.text("ÂÃâ€™?&;#x<>!-/ab{}:()\u200b\x83\xa0 "))
@example("&am\u200bp;")
def test_any_text_becomes_one_line_that_can_be_seen(text: str) -> None:
    clean = Cleaner()(text)
    assert clean == " ".join(clean.split()) == unicodedata.normalize("NFC", clean)
    assert all(unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in clean)


@pytest.mark.parametrize(
    "part", ["&", "amp;", "&amp;", "<!--", "<a ", "Ã?Â", "Ã", "{a:", "{", "function(", "â€", "\u200b", "{ "]
)
def test_long_texts_take_linear_time(part: str) -> None:
    clean, text = Cleaner(), "&" + part * 100_000
    started = time.process_time()
    clean(text)
    assert time.process_time() - started < 2


def test_clean_texts_are_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most texts are clean: they cost one search."""

    def fail(*_: Any) -> str:
        raise AssertionError

    monkeypatch.setattr("flipbench.data.clean._read_anew", fail)
    assert Cleaner()(" The Hobbit, or: There and Back Again (1937) ") == "The Hobbit, or: There and Back Again (1937)"
