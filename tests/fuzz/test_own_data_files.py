"""Files of one's own data and their descriptions with bytes changed: a table or one line that names a file, in 2 s.

How many, and how to run one again: :mod:`fuzzing`.
"""

import gzip
import random
import shutil
from pathlib import Path

import own_data
import pytest
from fuzzing import CASES, COUNT, case
from test_raw_files import spoilt

from flipbench.data.fetch import import_from
from flipbench.errors import UserError

USERS = "user_id,town\n" + "".join(f"u{n},Town {n % 3}\n" for n in range(7))
PARTS = "\n".join([own_data.HEADER, *(row.replace("phone", "test") for row in own_data.ROWS)]) + "\n"

FORMS: list[tuple[str, dict[str, str]]] = [
    (own_data.CSV, {}),
    (own_data.CSV, {"time": "", "order": "shuffled", "user": "", "fields": "[item_id, title]"}),
    (own_data.CSV, {"label": '{column: price, positive: "> 20", drop: [30]}', "split": "{test: 0.3, valid: 0.2}"}),
    (
        own_data.CSV,
        {"fields": "[item_id, {column: price, buckets: {quantiles: 5}}, {column: time, buckets: {log: 2}}]"},
    ),
    (own_data.CSV, {"fields": '[item_id, {column: title, many: " ", take: all}]', "split": "{test_from: 1030}"}),
    (PARTS, {"split": "{column: device, train: desk, test: test}", "fields": "[user_id, item_id, title]"}),
    (
        own_data.CSV,
        {
            "files": "{interactions: clicks.csv, users: {file: users.csv, key: user_id}}",
            "fields": "[user_id, town, item_id, title]",
            "ties": "[item_id, title]",
        },
    ),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLIPBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def write_case(number: int, folder: Path) -> Path:
    """The description of a case, with its files."""
    draw = random.Random(number)
    content, changes = draw.choice(FORMS)
    data, users = content.encode(), USERS.encode()
    kind = draw.random()
    if kind < 0.7:
        data = spoilt(data, draw)
    elif kind < 0.8:
        data = content.encode(draw.choice(["utf-16", "utf-8-sig", "utf-32", "cp037"]))
    if draw.random() < 0.3:
        users = spoilt(users, draw)
    if draw.random() < 0.1:
        changes = {**changes, "format": draw.choice(["{encoding: utf-16}", "{encoding: latin-1}", "{types: true}"])}
    file = draw.choice(["clicks.csv", "clicks.csv", "clicks.csv.gz", "clicks.parquet"])
    if file.endswith(".gz"):
        data = gzip.compress(data, 1, mtime=0)
        data = spoilt(data, draw) if draw.random() < 0.2 else data
    if file != "clicks.csv":
        files = changes.get("files", "{interactions: clicks.csv}")
        changes = {**changes, "files": files.replace("clicks.csv", file)}
    path = own_data.write(folder, data, file, **changes)
    (folder / "users.csv").write_bytes(users)
    if kind > 0.9:
        path.write_bytes(spoilt(path.read_bytes(), draw))
    return path


def test_changed_files_give_a_table_or_one_line(tmp_path: Path, home: Path) -> None:
    tables = 0
    for number in CASES:
        path = write_case(number, tmp_path / "own")
        with case(f"{number}"):
            try:
                tables += len(import_from(str(path))) > 0
            except UserError as error:
                check_line(str(error), tmp_path / "own")
        shutil.rmtree(tmp_path / "own")
        shutil.rmtree(home, ignore_errors=True)
    assert COUNT < 100 or 0.05 * COUNT < tables < 0.9 * COUNT, "cases of both kinds"


def check_line(line: str, folder: Path) -> None:
    assert line.isprintable(), line
    assert line.startswith(str(folder)), line
