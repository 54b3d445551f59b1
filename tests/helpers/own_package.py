"""Somebody's package as installers leave it, and a registry that has not seen it yet."""

import importlib
import sys
from pathlib import Path

from flipbench import plugins
from flipbench.data import dataset
from flipbench.plan import registry


def package(folder: Path, name: str, modules: dict[str, str], entry_points: str) -> None:
    """Write modules and what registers them into a folder of ``sys.path``."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text, encoding="utf-8")


def forget(prefix: str) -> None:
    """Let the registry look again, and modules whose names begin so be imported again."""
    for known in [each for module in (plugins, registry, dataset) for each in vars(module).values()]:
        if hasattr(known, "cache_clear"):
            known.cache_clear()
    for module in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[module]
    importlib.invalidate_caches()
