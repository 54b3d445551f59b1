"""The MovieLens reader: known values, the round trip of ids, and raw files that are wrong."""

import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_bookcrossing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import corrupted, in_words
from tiny_movielens import MOVIELENS, RATINGS

from flipbench.cli import main
from flipbench.data import dataset, fetch
from flipbench.data.check import check
from flipbench.data.dataset import get
from flipbench.data.fetch import import_from
from flipbench.data.movielens_reader import read
from flipbench.data.split import training_rows
from flipbench.data.store import open_table, values
from flipbench.errors import UserError

Raw = Callable[..., Path]


def test_rows_in_words_and_order(raw: Raw) -> None:
    prepared = read(raw(), allow_partial=True)
    star_wars = ("9", "Star Wars: Episode IV (1977)", "Sci-Fi")
    miserables = ("10", "Misérables, Les (1995)", "Drama")
    toy_story = ("1", "Toy Story (1995)", "Animation")
    one = ("1", "female", "under 18", "K-12 student", "48067")
    two = ("2", "male", "56+", "self-employed", "70072")
    three = ("3", "female", "25-34", "other", "55117-1001")
    ten = ("10", "male", "25-34", "scientist", "01234")
    assert in_words(prepared) == [
        two + star_wars,
        one + miserables,  # three rows of one second: by user, as a number
        three + star_wars,
        ten + star_wars,
        one + toy_story,
        two + miserables,
        three + toy_story,
    ]
    assert prepared.labels.tolist() == [1, 0, 1, 0, 1, 1, 0]
    assert (prepared.ids.dtype, prepared.labels.dtype) == (np.int32, np.uint8)
    windows = raw(**{file[:-4]: text.replace("\n", "\r\n") for file, text in MOVIELENS.items()})
    assert in_words(read(windows, allow_partial=True)) == in_words(prepared)


def test_ids_count_up_by_field_over_the_values_that_occur(raw: Raw) -> None:
    table = import_from("movielens-1m", raw(), allow_partial=True)
    strings = values(table).to_pylist()
    fields = [strings[a - 1 : b - 1] for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]
    assert table.offsets[0] == 1
    assert fields[0] == ["1", "2", "3", "10"]  # user 4 rated nothing; numbers sort as numbers
    assert fields[2] == ["25-34", "56+", "under 18"]
    assert fields[4] == ["01234", "48067", "55117-1001", "70072"]  # text sorts as text
    assert fields[5] == ["1", "9", "10"]
    assert table.num_features == len(strings) + 1
    assert sorted(set(table.ids.ravel().tolist())) == list(range(1, table.num_features))


def test_files_without_the_ratings_of_3_give_the_same_table(raw: Raw) -> None:
    whole = import_from("movielens-1m", raw(), allow_partial=True).fingerprint
    lines = [line for line in RATINGS.splitlines(keepends=True) if "::3::" not in line]
    random.Random(0).shuffle(lines)
    folder = raw(ratings="".join(lines)).parent  # it will do
    assert import_from("movielens-1m", folder, allow_partial=True).fingerprint == whole


BAD = {
    "too few columns": ("ratings", "1::1::5\n", r"ratings.dat:1: 3 columns, expected 4"),
    "too many columns": ("ratings", "1::9::4::7\n1::1::5::7::7\n", r"ratings.dat:2: 5 columns, expected 4"),
    "one colon for two": ("ratings", "1::9::4::7\n1:1::5::7\n", r"ratings.dat:2: 3 columns"),
    "an empty line": ("ratings", "1::9::4::7\n\n1::1::5::7\n", r"ratings.dat:2: 1 columns"),
    "text between the colons": ("ratings", "1::9::4:x:7\n", r"ratings.dat:1: 3 columns"),
    "a user in letters": ("ratings", "1::9::4::7\nbob::1::5::7\n", r"ratings.dat:2: user 'bob' is not an integer"),
    "an empty rating": ("ratings", "1::9::4::7\n1::1::::7\n", r"ratings.dat:2: rating '' is not an integer"),
    "a timestamp in letters": ("ratings", "1::9::4::noon\n", r"ratings.dat:1: timestamp 'noon' is not an integer"),
    "a timestamp with a point": ("ratings", "1::9::4::7.5\n", r"ratings.dat:1: timestamp '7.5' is not an integer"),
    "a timestamp too long": ("ratings", f"1::9::4::{'9' * 30}\n", r"ratings.dat:1: timestamp '9+' is not an integer"),
    "a timestamp before 1970": ("ratings", "1::9::4::-7\n", r"ratings.dat:1: timestamp -7 is not in seconds"),
    "a rating of 7": ("ratings", "1::9::4::7\n1::1::7::7\n", r"ratings.dat:2: rating 7 is not one of 1 to 5"),
    "a rating of 0": ("ratings", "1::9::0::7\n", r"ratings.dat:1: rating 0 is not one of 1 to 5"),
    "an unknown user": ("ratings", "1::9::4::7\n77::1::5::7\n", r"ratings.dat:2: user 77 is not in users.dat"),
    "an unknown movie": ("ratings", "1::9::4::7\n1::8::5::7\n", r"ratings.dat:2: movie 8 is not in movies.dat"),
    "a pair twice": ("ratings", "1::9::4::7\n2::1::5::7\n1::9::2::8\n", r"ratings.dat:3: user 1 has rated movie 9"),
    "only threes": ("ratings", "1::9::3::7\n", r"ratings.dat: no rating other than 3"),
    "an empty file": ("ratings", "", r"ratings.dat: empty file"),
    "a NUL byte": ("ratings", "1::9::4::7\n1::1::5::\0007\n", r"ratings.dat:2: NUL byte"),
    "a last line cut": ("ratings", "1::9::4::7\n1::1::5::97830", r"ratings.dat:2: incomplete last line"),
    "an unknown gender": ("users", "1::X::1::10::48067\n", r"users.dat:1: unknown gender 'X'; valid: F, M"),
    "an unknown age": ("users", "1::F::7::10::48067\n", r"users.dat:1: unknown age '7'; .*18"),
    "an unknown occupation": ("users", "1::F::1::21::48067\n", r"users.dat:1: unknown occupation '21'"),
    "a user twice": ("users", "1::F::1::10::48067\n1::M::1::10::48067\n", r"users.dat:2: user 1 occurs before"),
    "no zip code": ("users", "1::F::1::10::\n", r"users.dat:1: empty zip code"),
    "users empty": ("users", "", r"users.dat: empty file"),
    "a movie in letters": ("movies", "x::Toy Story (1995)::Comedy\n", r"movies.dat:1: movie 'x' is not a positive"),
    "a huge movie id": ("movies", f"{'1' * 5000}::Toy Story (1995)::Comedy\n", r"movies.dat:1: movie .* is not"),
    "no title": ("movies", "1::::Comedy\n", r"movies.dat:1: empty title"),
    "no genre": ("movies", "1::Toy Story (1995)::|War\n", r"movies.dat:1: empty genre"),
    "a title in GBK": (
        "movies",
        "1::Misérables::Drama\n".replace("é", "\xa8\xa6"),
        r"movies.dat:1: .*letters were lost",
    ),
    "a title in a DOS code page": ("movies", "1::Ok::War\n2::Mis\x82rables::Drama\n", r"movies.dat:2: .*letters were"),
    "a question mark for a letter": ("movies", "1::Mis?rables::Drama\n", r"movies.dat:1: '1::Mis\?rables.* were lost"),
    "a huge zero before an id": ("movies", f"{'0' * 5000}1::Toy::War\n", r"movies.dat:1: movie .* is not"),
    "other digits": ("ratings", "1::9::4::\xb27\n", r"ratings.dat:1: timestamp '²7' is not an integer"),
    "a rating of 2026": (
        "ratings",
        "1::9::4::7\n1::1::4::1767225600\n",
        r"ratings.dat:2: timestamp 1767225600 is after",
    ),
    "a title in two": ("movies", "1::Toy::Story (1995)::Comedy\n", r"movies.dat:1: 4 columns, expected 3"),
}


@pytest.mark.parametrize(("file", "text", "message"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_refused_with_file_and_line(raw: Raw, home: Path, file: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        import_from("movielens-1m", raw(**{file: text}), allow_partial=True)
    assert "\n" not in str(error.value)
    assert [path.suffix for path in home.glob("*/*")] == [".lock"]  # nothing half-written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_files_saved_anew_as_utf_8_give_the_same_table(raw: Raw, encoding: str) -> None:
    table = import_from("movielens-1m", raw(), allow_partial=True)
    folder = raw()
    for file, text in MOVIELENS.items():
        (folder / file).write_bytes(text.encode(encoding))
    assert "Misérables, Les (1995)" in values(import_from("movielens-1m", folder, allow_partial=True)).to_pylist()
    assert import_from("movielens-1m", folder, allow_partial=True).fingerprint == table.fingerprint


LOST = {
    "read as ASCII, replaced": "Mis\ufffdrables",
    "read as GBK": "Misérables".encode("latin-1").decode("gbk", "replace"),
    "read twice as latin-1": "Misérables".encode().decode("latin-1"),
    "read as cp1251": "Misérables".encode("latin-1").decode("cp1251"),
    "decomposed": "Mise\u0301rables",
}


@pytest.mark.parametrize("title", LOST.values(), ids=LOST)
def test_utf_8_copies_whose_letters_were_lost_are_refused_by_line(raw: Raw, title: str) -> None:
    folder = raw()
    (folder / "movies.dat").write_bytes(MOVIELENS["movies.dat"].replace("Misérables", title).encode())
    with pytest.raises(
        UserError, match=rf"movies\.dat:3: '10::{title}.*letters were lost when the file was saved anew"
    ):
        read(folder, allow_partial=True)


def test_an_import_says_whether_it_made_the_published_table(
    raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = import_from("movielens-1m", raw(), allow_partial=True).fingerprint
    tiny = replace(get("movielens-1m"), fingerprint=fingerprint, reader=lambda raw, _: read(raw, allow_partial=True))
    monkeypatch.setattr(dataset, "get", lambda name: tiny if name == tiny.name else get(name))
    monkeypatch.setattr(fetch, "get", dataset.get)
    command = ["data", "import", "movielens-1m", "--from", str(raw())]
    assert main(command) == 0
    assert f"fingerprint {fingerprint}, the published one\n" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["published"] is True
    raw(movies=MOVIELENS["movies.dat"].replace("Toy Story", "Toy Storey"))
    assert main(command) == 0
    assert f"\nwhich is not the published one, {fingerprint}: the raw files" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["published"] is False
    books = tiny_bookcrossing.write_raw(tmp_path / "bx")
    assert main(["data", "import", "bookcrossing", "--from", str(books)]) == 0
    assert "; none is published to compare it with\n" in capsys.readouterr().out


@pytest.mark.parametrize("file", ["ratings.dat", "users.dat", "movies.dat"])
def test_a_missing_file_and_a_folder_in_its_place_are_named(raw: Raw, file: str) -> None:
    folder = raw()
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"{file}: no such file"):
        import_from("movielens-1m", folder, allow_partial=True)
    (folder / file).mkdir()
    with pytest.raises(UserError, match=f"{file}: Is a directory"):
        import_from("movielens-1m", folder, allow_partial=True)


def test_folders_without_whole_files_are_named(raw: Raw, tmp_path: Path) -> None:
    for folder, message in (
        (tmp_path, r"has none of ratings\.dat, users\.dat, movies\.dat"),
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (raw(), r"ratings\.dat: 7 ratings other than 3, expected 739,012; is the file cut"),
    ):
        with pytest.raises(UserError, match=message):
            import_from("movielens-1m", folder)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_bytes_give_an_error_or_a_table(raw: Raw, data: st.DataObject) -> None:
    folder, file = raw(), data.draw(st.sampled_from(sorted(MOVIELENS)))
    content = MOVIELENS[file].encode("latin-1")
    (folder / file).write_bytes(data.draw(corrupted(content, b":", b"::", b"\n", b"\r\n", b"\0", b"1", most=4)))
    try:
        prepared = read(folder, allow_partial=True)
    except UserError as error:
        assert re.fullmatch(rf"{re.escape(str(folder))}/\w+\.dat(:\d+)?: [^\n]+", str(error))  # noqa: PT017
    else:
        assert set(prepared.ids.ravel().tolist()) == set(range(1, 1 + sum(map(len, prepared.values))))


DATA = os.environ.get("FLIPBENCH_DATA", "")


@pytest.mark.skipif(not (Path(DATA) / "ml-1m").is_dir(), reason="FLIPBENCH_DATA names no folder that holds ml-1m")
def test_the_real_data_have_the_known_counts(own_home) -> None:
    table = import_from("movielens-1m", DATA)
    assert (len(table), len(table.fields), table.num_features - 1) == (739_012, 8, 16_863)
    assert np.diff(table.offsets).tolist() == [6040, 2, 7, 21, 3439, 3668, 3668, 18]
    assert int(table.labels.sum()) == 575_281
    assert len(training_rows(table, "chronological")) == 665_110
    assert len(table) - 665_110 == 73_902
    lines = {line.what: line for line in check("movielens-1m").lines}
    assert lines["logloss of the base rate"].ours == 0.5289
    assert lines["unseen in test"].ours == "users 6.82%, items 0.09%, features 1.06% of 73,902 rows"
    assert lines["unseen in validation last-ninth"].ours.startswith("users 75.49%")
    assert lines["unseen in validation known-users"].ours.startswith("users 0.00%")
    assert lines["features"].verdict.startswith("differs: ")
    assert lines["samples"].verdict == lines["fields"].verdict == lines["test rows"].verdict == "equal"
    assert table.fingerprint == "f064684cb2017aa2b9c00bc3373fa6587a4437ddd4234d87c2a19bcf6177fd3a"
    assert open_table("movielens-1m").fingerprint == table.fingerprint
