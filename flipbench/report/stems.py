"""Names of files made from what users call their rows and data sets."""

import re
from collections.abc import Collection
from itertools import chain, count


def stem_of(name: str, taken: Collection[str]) -> str:
    """A name as a file's, without what a shell, LaTeX or a web address would read as its own, and none of ``taken``."""
    stem = re.sub(r"[^\w.+-]+", "-", re.sub("[@/]", "_", name).replace("%", "-percent"))
    others = (f"{stem}-{number}" for number in count(2))  # of labels that differ in such characters alone
    return next(free for free in chain([stem], others) if free not in taken)
