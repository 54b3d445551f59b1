"""Shared by the tests of the text half."""

from collections.abc import Callable

import pytest
from tiny_text import VALUES, make_table, make_tokenizer

from flipbench.data.table import Table
from flipbench.text.tokenizer import TextTokenizer


@pytest.fixture(scope="session")
def tiny() -> Callable[[str], TextTokenizer]:
    """Tokenizers by family, trained once."""
    made: dict[str, TextTokenizer] = {}

    def get(family: str) -> TextTokenizer:
        if family not in made:
            made[family] = make_tokenizer(family)
        return made[family]

    return get


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Values that would hurt: dots at the end, quotes, accents, special tokens' names, an empty one."""
    return make_table(tmp_path_factory.mktemp("table"), VALUES)
