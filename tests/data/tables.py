"""What the tests of data sets share: a prepared table in words, files with a few bytes changed, zip archives."""

import io
import random
import zipfile

from hypothesis import strategies as st
from tiny_movielens import MOVIELENS

from flipbench.data.encode import Prepared


def in_words(prepared: Prepared) -> list[tuple[str, ...]]:
    """Every row as its feature strings."""
    strings = [value for vocabulary in prepared.values for value in vocabulary]
    return [tuple(strings[i - 1] for i in row) for row in prepared.ids]


@st.composite
def corrupted(draw: st.DrawFn, content: bytes, *tokens: bytes, most: int = 2) -> bytes:
    """The content with up to ``most`` places cut, or overwritten by random bytes or one of the tokens."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 6))] = draw(st.one_of(st.binary(max_size=3), st.sampled_from(tokens)))
    return bytes(changed)


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip archive of the files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ML_1M = {f"ml-1m/{file}": text.encode("latin-1") for file, text in MOVIELENS.items()} | {
    "ml-1m/README": random.Random(0).randbytes(300_000)  # so that there is something to cut
}
