"""A small data set of one's own: clicks of users on items, and the file that describes it."""

from pathlib import Path

HEADER = "user_id,item_id,title,price,device,clicked,time"
ROWS = [
    f"u{n % 7},{n % 5},Title {n % 5},{n * 1.5:g},{('phone', 'desk')[n % 2]},{int(n % 3 == 0)},{1_000 + n}"
    for n in range(40)
]
CSV = "\n".join([HEADER, *ROWS]) + "\n"

DESCRIPTION = {
    "dataset": "my-clicks",
    "files": "{interactions: clicks.csv}",
    "label": "clicked",
    "user": "user_id",
    "item": "item_id",
    "time": "time",
    "fields": "[user_id, item_id, {column: title, side: item}, device]",
}


def write(folder: Path, content: str | bytes = CSV, file: str = "clicks.csv", **changes: str) -> Path:
    """The description, its top-level keys changed or, where empty, left out, with the interactions beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    return describe(folder, **changes)


def describe(folder: Path, **changes: str) -> Path:
    """The description alone."""
    lines = [f"{key}: {value}\n" for key, value in {**DESCRIPTION, **changes}.items() if value]
    path = folder / "my-clicks.yaml"
    path.write_text("".join(lines), encoding="utf-8")
    return path
