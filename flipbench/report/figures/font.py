"""The letters of every figure: DejaVu Sans as it comes with matplotlib, the same on every machine."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fontTools.ttLib import TTFont
from matplotlib import font_manager, get_data_path

NAME = "flipbench Sans"

_UNUSED = ("GSUB", "GPOS", "GDEF", "MATH")
"""Tables of ligatures, marks and formulas, which no figure has; kerning has one of its own (``kern``)."""


@cache
def register() -> None:
    """Make the font known to matplotlib as :data:`NAME`, for this process.

    A PDF holds the letters that it shows, cut out of the font; that takes a quarter of the time without the tables
    that are left out here.
    """
    folder = tempfile.mkdtemp(prefix="flipbench-font-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "DejaVuSans.ttf")
    with TTFont(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf"), lazy=True, recalcTimestamp=False) as font:
        for table in _UNUSED:
            del font[table]
        for record in font["name"].names:
            if record.nameID in (1, 16):  # family
                record.string = NAME
            elif record.nameID in (2, 17):  # style: matplotlib reads "Book" as another weight
                record.string = "Regular"
        font.save(path, reorderTables=None)
    font_manager.fontManager.addfont(path)
