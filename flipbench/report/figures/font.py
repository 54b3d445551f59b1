"""The letters of every figure: DejaVu Sans as it comes with matplotlib, the same on every machine."""

import shutil
import tempfile
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from matplotlib import font_manager, get_data_path

NAME = "flipbench Sans"
_LATIN_AND_GREEK = (*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x370, 0x400))
_SIGNS = "\N{MINUS SIGN}\N{LESS-THAN OR EQUAL TO}\N{GREATER-THAN OR EQUAL TO}\N{ALMOST EQUAL TO}\N{INCREMENT}"
_LETTERS = {*_LATIN_AND_GREEK, *range(0x2010, 0x2030), *range(0x2190, 0x2194), *map(ord, _SIGNS)}
_UNUSED = ["GSUB", "GPOS", "GDEF", "MATH", "FFTM"]
"""Tables of ligatures, marks and formulas, which no figure has; kerning has one of its own (``kern``)."""


def families(text: str) -> list[str]:
    """The fonts for a text: the whole one too where the first lacks a letter, as each is looked up for every text."""
    return [NAME] if _LETTERS.issuperset(map(ord, text)) else [NAME, "DejaVu Sans"]


@cache
def register() -> None:
    """Make the font known to matplotlib as :data:`NAME`, for this process.

    A PDF holds the letters that it shows, cut out of the font; from one with the usual letters alone that takes a
    twentieth of the time.
    """
    folder = tempfile.mkdtemp(prefix="flipbench-font-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # atexit is not heard at the end of a forked process
    path = Path(folder, "DejaVuSans.ttf")
    whole = Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    with TTFont(whole, lazy=True, recalcTimestamp=False, recalcBBoxes=False) as font:
        options = Options(glyph_names=True, hinting=False, legacy_kern=True)
        options.drop_tables += _UNUSED
        subsetter = Subsetter(options)
        subsetter.populate(unicodes=_LETTERS)
        subsetter.subset(font)
        for record in font["name"].names:
            if record.nameID in (1, 16):  # family
                record.string = NAME
            elif record.nameID in (2, 17):  # style: matplotlib reads "Book" as another weight
                record.string = "Regular"
        font.save(path, reorderTables=None)
    font_manager.fontManager.addfont(path)
