"""MovieLens as RecBole's atomic files and as a reczoo folder, described by the command: the built-in data set again."""

import json
from collections.abc import Callable
from pathlib import Path

import movielens_formats
import numpy as np
import pytest
from tiny_movielens import MOVIELENS

from flipbench.data import row_hashes, split, store
from flipbench.data.fetch import import_from

TIES = "ties: [user_id, movie_id]\n"


def ratings(rows: int = 240) -> str:
    """Ratings of four users, several a second, in no order of time; a seventh of them 3."""
    lines = []
    for n in range(rows):
        movie, second = (n * 7) % 60, 978_300_000 + (n * 37 % rows) // 3
        lines.append(f"{(1, 2, 3, 10)[n // 60]}::{100 + movie}::{1 + (n * 11 % 7) % 5}::{second}")
    return "\n".join(lines) + "\n"


MOVIES = MOVIELENS["movies.dat"] + "".join(
    f"{100 + n}::{('The ', 'A ', '')[n % 3]}Movie, {n % 50} (19{n + 30})::{('War', 'Drama|War', 'Sci-Fi')[n % 3]}\n"
    for n in range(60)
)


@pytest.fixture
def built_in(raw: Callable[..., Path]) -> Path:
    """The raw folder, of which the built-in data set is prepared."""
    folder = raw(ratings=ratings(), movies=MOVIES)
    import_from("movielens-1m", folder, allow_partial=True)
    return folder


def described(cli, path: Path, *, drop: bool = True) -> Path:
    """The description that the command writes, with the paper's label and order of one second's rows."""
    target = path.parent / f"own-{path.name}.yaml"
    code, _, err = cli("data", "describe", path, "--to", target)
    assert code == 0, err
    text = target.read_text(encoding="utf-8")
    if drop:
        text = text.replace('positive: "> 3"}', 'positive: "> 3", drop: [3]}') + TIES
    target.write_text(text, encoding="utf-8")
    code, _, err = cli("data", "check", target)
    assert code == 0, err
    return target


def same(path: Path) -> None:
    """That a described table has the built-in one's ids, labels, features and order."""
    built_in, own = store.open_table("movielens-1m"), store.open_table(str(path))
    assert len(own) > 200
    assert np.array_equal(own.ids, built_in.ids)
    assert np.array_equal(own.labels, built_in.labels)
    assert np.array_equal(own.offsets, built_in.offsets)
    in_prompts = {value: words for field in built_in.fields for value, words in field.verbalizer}
    texts = [in_prompts.get(value, value) for value in store.values(built_in).to_pylist()]
    assert store.values(own).to_pylist() == texts
    assert [(f.name, f.words, f.side) for f in own.fields] == [(f.name, f.words, f.side) for f in built_in.fields]


def test_atomic_files_are_the_built_in_data_set(cli, built_in: Path, tmp_path: Path) -> None:
    path = described(cli, movielens_formats.atomic(built_in, tmp_path / "atomic"))
    same(path)
    published = json.loads(cli("data", "rows", "movielens-1m", "--json")[1])
    own = json.loads(cli("data", "rows", path, "--json")[1])
    assert own["hash of"] == published["hash of"] == ["user", "item", "time"]
    for part, digest in own["parts"].items():
        assert {key: digest[key] for key in ("rows", "sum", "order")}.items() <= published["parts"][part].items()


def test_one_csv_is_the_built_in_data_set(cli, built_in: Path, tmp_path: Path) -> None:
    movielens_formats.joined(built_in).to_csv(tmp_path / "clicks.csv.gz", index=False)
    same(described(cli, tmp_path / "clicks.csv.gz"))


def test_a_reczoo_folder_has_the_same_parts(cli, built_in: Path, tmp_path: Path) -> None:
    path = described(cli, movielens_formats.in_parts(built_in, tmp_path / "reczoo"), drop=False)
    same(path)
    table, own = store.open_table("movielens-1m"), store.open_table(str(path))
    fitted, valid = split.selection_rows(table, "chronological", "held-out", "last-ninth")
    own_fitted, own_valid = split.selection_rows(own, "file", "held-out", "given")
    test, own_test = split.test_rows(table, "chronological"), split.test_rows(own, "file")
    for part, own_part in ((fitted, own_fitted), (valid, own_valid), (test, own_test)):
        assert np.array_equal(part.ids, own_part.ids)
        assert np.array_equal(part.users, own_part.users)


def test_given_parts_are_those_that_a_column_names(cli, built_in: Path, tmp_path: Path) -> None:
    """The same rows in one CSV whose column says the part."""
    folder = movielens_formats.in_parts(built_in, tmp_path / "reczoo")
    given = described(cli, folder, drop=False)
    whole = []
    for part in ("train", "valid", "test"):
        header, *lines = (folder / f"{part}.csv").read_text(encoding="utf-8").splitlines()
        whole += [f"{line},{part}" for line in lines]
    (tmp_path / "one.csv").write_text("\n".join([f"{header},part", *whole]) + "\n", encoding="utf-8")
    named = described(cli, tmp_path / "one.csv", drop=False)
    same(named)
    hashes = [row_hashes.hash_rows(table := store.open_table(str(path)))[0] for path in (given, named)]
    parts = [row_hashes.parts_of(table, "file", each) for each in hashes]
    assert (
        parts[0].keys()
        == parts[1].keys()
        == {f"validation {v}" for v in ("known-users", "last-ninth", "given")} | {"training", "test"}
    )
    assert all(np.array_equal(parts[0][part], parts[1][part]) for part in parts[0])
    read = cli("data", "rows", given, "--to", tmp_path / "rows.csv")
    assert read[0] == 0
    assert cli("data", "rows", named, "--check", tmp_path / "rows.csv")[0] == 0


def test_the_same_predictions_byte_for_byte(cli, built_in: Path, tmp_path: Path, suite_file, predicted) -> None:
    atomic = described(cli, movielens_formats.atomic(built_in, tmp_path / "atomic"))
    parts = described(cli, movielens_formats.in_parts(built_in, tmp_path / "reczoo"), drop=False)
    data = ", ".join(["movielens-1m", str(atomic), str(parts)])
    suite = suite_file(
        data=f"[{data}]",
        methods="[deepfm, dcnv2, flip: {plm: small}]",
        settings="{max_epochs: 1, batch_size: 64, pretrain: {epochs: 1, batch_size: 64}}",
        validation="last-ninth",
        refit="",
    )
    code, _, err = cli("run", suite, "--workers", "1")
    assert code == 0, err
    by_data: dict[str, dict[str, bytes]] = {}
    for name, content in predicted(tmp_path / "results").items():
        data_set, method, *_ = Path(name).parts
        by_data.setdefault(data_set.partition(".")[0], {})[method] = content
    assert by_data.keys() == {"movielens-1m", "ml-1m", "reczoo"}
    assert by_data["movielens-1m"].keys() == {"deepfm", "dcnv2", "flip"}
    assert by_data["ml-1m"] == by_data["movielens-1m"]
    assert by_data["reczoo"] == by_data["movielens-1m"]
