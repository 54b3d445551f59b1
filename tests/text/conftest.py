import pytest
from tiny_plm import table, tiny  # noqa: F401 - fixtures

from flipbench.text.tokens import TokenStore


@pytest.fixture(scope="session")
def store(tiny, table):  # noqa: F811
    """The table's tokens under the WordPiece tokenizer."""
    return TokenStore.build(table, tiny("wordpiece"))
