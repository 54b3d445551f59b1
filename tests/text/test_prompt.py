"""The wording of prompts."""

import hashlib
import json

import numpy as np
import pytest
from tiny_text import make_table

from flipbench.data import dataset
from flipbench.data.movielens import FIELDS
from flipbench.text import prompt


def test_prompt_wording():
    row = ["1", "female", "under 18", "K-12 student", "48067", "1193"]
    row += ["One Flew Over the Cuckoo's Nest (1975)", "Drama"]
    assert prompt.sentence(FIELDS, row) == (
        "user id is 1. gender is female. age is under 18. occupation is K-12 student. zipcode is 48067. "
        "movie id is 1193. title is One Flew Over the Cuckoo's Nest (1975). genre is Drama."
    )


def test_a_verbalizer_rewords_a_stored_value():
    occupation = FIELDS[3]
    assert prompt.sentence([occupation], ["other"]) == "occupation is other or not specified."
    assert prompt.verbalize(occupation, ["farmer", "other"]) == ["farmer", "other or not specified"]


WORDING = {
    "amazon-toys": "a157436cdaf9295e",
    "bookcrossing": "30d6332162be87e2",
    "goodreads": "f61622eabb6e97cd",
    "goodreads-4m": "f61622eabb6e97cd",
    "movielens-1m": "4d4dff28f900c05d",
    "planted-rare": "4d4dff28f900c05d",
    "planted-small": "4d4dff28f900c05d",
    "planted-tiny": "4d4dff28f900c05d",
}
"""SHA-256 of every data set's field names and rewordings. They are no part of any key: where one changes, raise the
version of every method that reads text, or its finished runs are taken for runs with the new wording."""


@pytest.mark.parametrize("name", sorted(dataset.names()))
def test_the_wording_has_not_changed(name):
    fields = dataset.get(name).fields
    words = [[prompt.opening(field), field.side, *map(list, field.verbalizer)] for field in fields]
    assert hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16] == WORDING[name]


def test_a_row_with_a_value_too_few_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        prompt.sentence(FIELDS, ["1"])


def test_values_come_by_field_in_id_order_whatever_the_chunks(tmp_path, monkeypatch):
    vocabularies = ["ab", "cdefg", "h"]
    table = make_table(tmp_path, vocabularies, rows=3)
    for size in (1, 2, 5, 100):
        monkeypatch.setattr(prompt, "CHUNK", size)
        chunks = [list(prompt.value_chunks(table, f)) for f in range(3)]
        assert max(len(chunk) for field in chunks for chunk in field) <= size
        assert ["".join(v for chunk in field for v in chunk) for field in chunks] == vocabularies
    assert prompt.sentences(table, np.array([[2, 3, 8], [1, 7, 8]])) == [
        "user id is b. title is c. genre is h.",
        "user id is a. title is g. genre is h.",
    ]
