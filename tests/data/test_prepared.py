"""Prepared tables on disk: sealed, atomic, and safe with two writers."""

import dataclasses
import errno
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import resolve_name
from unittest.mock import Mock

import numpy as np
import pytest
import tiny_goodreads
from pyarrow import parquet
from tiny_movielens import RATINGS

from flipbench.data import dataset, store
from flipbench.data.fetch import fetch, import_from
from flipbench.errors import UserError


@pytest.mark.parametrize("file", ["ids.npy", "labels.npy", "truth.npy", "features.parquet", "meta.json"])
@pytest.mark.parametrize("where", [0, 0.1, 0.5, 0.9, 1])
def test_a_changed_byte_is_found(file: str, where: float) -> None:
    path = store.open_table("planted-tiny").folder / file
    data = bytearray(path.read_bytes())
    data[round(where * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{file}: changed since .*flipbench data fetch planted-tiny") as error:
        store.open_table("planted-tiny")
    assert "\n" not in str(error.value)
    fetch("planted-tiny")  # the remedy it names
    store.open_table("planted-tiny")


@pytest.mark.parametrize("file", ["ids.npy", "labels.npy", "features.parquet"])
def test_a_cut_or_missing_file_is_found(file: str) -> None:
    path = store.open_table("planted-tiny").folder / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=rf"{file}: changed since"):
        store.open_table("planted-tiny")
    path.unlink()
    with pytest.raises(UserError, match=rf"{file}: changed since"):
        store.open_table("planted-tiny")


def test_unverified_opening_still_gives_no_traceback() -> None:
    path = store.open_table("planted-tiny").folder / "ids.npy"
    path.write_bytes(b"not an array")
    with pytest.raises(UserError, match="changed since"):
        store.open_table("planted-tiny", verify=False)


def test_meta_edited_by_hand_is_found() -> None:
    path = store.open_table("planted-tiny").folder / "meta.json"
    meta = json.loads(path.read_text())
    meta["notes"]["bayes_auc"] = 0.99
    for content in (meta, []):
        path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
        with pytest.raises(UserError, match=r"meta\.json: changed since"):
            store.fingerprint("planted-tiny")


def test_arrays_are_copy_on_write() -> None:
    table = store.open_table("planted-tiny")
    assert all(isinstance(array, np.memmap) for array in (table.ids, table.labels, store.truth(table)))
    table.ids[0, 0] += 1
    table.labels[:] = 1
    store.open_table("planted-tiny")  # its checksums hold


def test_the_fingerprint_is_that_of_the_content(raw: Callable[..., Path]) -> None:
    table = import_from("movielens-1m", raw(), allow_partial=True)
    path, strings = table.folder / "features.parquet", store.values(table).to_pylist()
    first = path.read_bytes()
    parquet.write_table(parquet.read_table(path), path, compression="gzip")
    assert path.read_bytes() != first
    again = import_from("movielens-1m", raw(), allow_partial=True)
    assert again.fingerprint == table.fingerprint == store.fingerprint("movielens-1m")
    assert store.values(again).to_pylist() == strings


def test_one_other_label_is_another_fingerprint(raw: Callable[..., Path]) -> None:
    one = import_from("movielens-1m", raw(), allow_partial=True).fingerprint
    other = raw(ratings=RATINGS.replace("1::1::5::978300760", "1::1::2::978300760"))
    assert import_from("movielens-1m", other, allow_partial=True).fingerprint != one


def test_features_are_stored_with_their_fields() -> None:
    table = store.open_table("planted-tiny")
    stored = parquet.read_table(table.folder / "features.parquet")
    assert [str(t) for t in stored.schema.types] == ["int16", "string"]
    assert np.bincount(stored.column("field").to_numpy()).tolist() == np.diff(table.offsets).tolist()


def test_real_data_name_their_commands_and_have_no_truth(raw: Callable[..., Path]) -> None:
    both = r"'flipbench data fetch movielens-1m' or 'flipbench data import movielens-1m --from DIR'"
    for opened in (store.open_table, store.fingerprint):
        with pytest.raises(UserError, match=f"not prepared in .*: run {both}"):
            opened("movielens-1m")
    with pytest.raises(UserError, match="true probabilities of real data are not known"):
        store.truth(import_from("movielens-1m", raw(), allow_partial=True))


def test_an_older_generator_s_table_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = dataclasses.replace(dataset.get("planted-tiny"), version=0)
    with monkeypatch.context() as patch:
        patch.setattr(store, "get", lambda name: stale)
        old = store.open_table("planted-tiny")
    meta = old.folder / "meta.json"
    assert json.loads(meta.read_text())["version"] == 0
    store.open_table("planted-tiny")
    assert json.loads(meta.read_text())["version"] == dataset.get("planted-tiny").version


def test_an_older_reader_s_table_is_refused(raw: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import_from("movielens-1m", raw(), allow_partial=True)
    newer = dataclasses.replace(dataset.get("movielens-1m"), version=99)
    monkeypatch.setattr(store, "get", lambda name: newer)
    with pytest.raises(UserError, match=r"older version of its reader: run 'flipbench data fetch movielens-1m' or"):
        store.open_table("movielens-1m")


def test_a_full_disk_leaves_the_old_table(
    raw: Callable[..., Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = import_from("movielens-1m", raw(), allow_partial=True).fingerprint

    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", full)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            import_from("movielens-1m", raw(ratings="1::1::5::978300760\n"), allow_partial=True)
    assert store.open_table("movielens-1m").fingerprint == before
    assert [p.name for p in (home / "data").iterdir() if not p.name.endswith(".lock")] == ["movielens-1m"]


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "file"))
    for prepare in (
        lambda: store.open_table("planted-tiny"),
        lambda: import_from("goodreads", tiny_goodreads.write_raw(tmp_path / "raw")),
    ):
        with pytest.raises(UserError, match=r"file.*: cannot be written: Not a directory"):
            prepare()


def test_a_killed_writer_s_remains_are_cleared(home: Path) -> None:
    remains = home / "data" / ".planted-tiny.tmp-dead"
    remains.mkdir(parents=True)
    (remains / "ids.npy").write_bytes(b"half")
    store.open_table("planted-tiny")
    assert not remains.exists()


def test_two_processes_may_prepare_at_once(home: Path) -> None:
    code = "from flipbench.data.store import open_table; print(open_table('planted-tiny').fingerprint)"
    racers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {racer.communicate()[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert answers == {store.fingerprint("planted-tiny")}


def test_data_sets_unknown_or_of_a_broken_package_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"movielens-1m", "planted-tiny", "planted-small"} <= set(dataset.names())
    with pytest.raises(UserError, match=r"unknown data set 'movielens1m'; did you mean 'movielens-1m'"):
        dataset.get("movielens1m")
    broken = {"mine": EntryPoint("mine", "no_such_package:DATA", dataset.GROUP)}
    monkeypatch.setattr(dataset, "_registered", lambda: broken)
    with pytest.raises(UserError, match=r"data set 'mine' \(no_such_package:DATA\) cannot be loaded: No module"):
        dataset.get("mine")


def test_readers_by_name() -> None:
    readers = [dataset.get(name).reader for name in dataset.names()]
    assert all(callable(resolve_name(reader)) for reader in readers if isinstance(reader, str))
    misspelled = dataclasses.replace(dataset.get("movielens-1m"), reader="flipbench.data.movielens_reader:reed")
    with pytest.raises(UserError, match=r"'movielens-1m': reader '.*:reed' cannot be loaded: .*'reed'"):
        misspelled.prepare(Path())


def test_prepare_that_breaks_the_contract_is_refused() -> None:
    tiny = dataset.get("planted-tiny")
    good = tiny.prepare(Path(), False)
    for bad in (
        dataclasses.replace(good, ids=good.ids.astype(np.int64)),
        dataclasses.replace(good, ids=good.ids + np.int32(1)),
        dataclasses.replace(good, labels=good.labels * np.uint8(2)),
        dataclasses.replace(good, labels=good.labels[1:]),
    ):
        with pytest.raises(ValueError, match="planted-tiny: "):
            store.write_table(tiny, bad)


def test_listing_loads_no_heavy_module() -> None:
    code = (
        "import sys; from flipbench.data import dataset, store; [dataset.get(n) for n in dataset.names()];"
        "print(sorted({'numpy', 'pandas', 'torch', 'pyarrow', 'pooch', 'requests'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
