"""``flipbench show KEY``."""

import argparse
import json
from pathlib import Path
from typing import Any

from flipbench.cli.output import print_json
from flipbench.errors import UserError
from flipbench.store.runs import Store, read_json


def main(args: argparse.Namespace) -> int:
    found = Store(Path(args.results)).find(args.key)
    if not found:
        raise UserError(
            f"no run in {args.results} whose key begins with '{args.key}' (flipbench plan SUITE --json lists keys)"
        )
    documents = [_document(path) for path in found]
    if args.json:
        print_json(documents)
        return 0
    for document in documents:
        print(document.pop("path"))
        for name, part in document.items():
            print(f"  {name}")
            for key, value in part.items():
                for line in _lines(key, value):
                    print(f"    {line}")
    return 0


def _document(path: Path) -> dict[str, Any]:
    if path.is_file():
        return {
            "path": str(path),
            **{k: v for k, v in read_json(path).items() if isinstance(v, dict)},
            "failure": read_json(path),
        }
    return {"path": str(path), **{name: read_json(path / f"{name}.json") for name in ("spec", "metrics", "env")}}


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [key, *(f"  {json.dumps(item)}" for item in value)]
    if isinstance(value, dict):
        return [key, *(f"  {k}: {json.dumps(v, ensure_ascii=False)}" for k, v in value.items())]
    return [f"{key}: {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"]
