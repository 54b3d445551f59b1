"""Where a PLM comes from: a pinned revision on the hub, a local folder, or ``small``.

Nothing here imports torch or ``transformers``, so that planning stays instant.
"""

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from flipbench.errors import UserError, shorten
from flipbench.identity import key_of
from flipbench.text.tokenizer import FILES

WEIGHTS = "model*.safetensors"
"""Weights, in one file or in several with an index."""

OLD_WEIGHTS = "pytorch_model.bin"
"""What older checkpoints have instead (TinyBERT's, for one); read as tensors alone, so that no code in it runs."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_REVISION = re.compile(r"[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PINNED = re.compile(r"(.+)#([0-9a-f]{64})")
_MOVING = ("main", "master", "HEAD")


PREFIXABLE = (
    *("bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta"),
    *("roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod"),
)
"""Encoders of ``transformers`` whose attention takes keys and values from outside, before any of a sentence."""


@dataclass(frozen=True)
class Source:
    """A PLM's specification, taken apart.

    Attributes:
        spec: as it was given.
        kind: where it lies.
        place: hub id or folder; empty for ``small``.
        revision: of a hub id, a commit of 40 hexadecimal digits or a tag; of a folder its fingerprint, where the
            specification pins it.
    """

    spec: str
    kind: Literal["hub", "folder", "small"]
    place: str = ""
    revision: str = ""


def parse(spec: str) -> Source:
    """``small``, ``hub-id@revision``, a folder's path, or ``path#fingerprint``: a folder that is read only if its
    content is the one meant, and that only training needs.

    Raises:
        UserError: a hub id without a revision or with one that moves, or neither form and no such folder.
    """
    if spec == "small":
        return Source(spec, "small")
    if pinned := _PINNED.fullmatch(spec):
        return Source(spec, "folder", str(_path(pinned[1])), pinned[2])
    if _is_folder(folder := _path(spec)):
        return Source(spec, "folder", str(folder))
    told = shorten(spec)
    place, at, revision = spec.partition("@")
    if not _HUB_ID.fullmatch(place):
        raise UserError(f"PLM '{told}': no such folder; valid: a folder, HUB-ID@REVISION, small")
    if not at:
        raise UserError(f"PLM '{told}': no such folder, and a hub id needs a revision: {place}@COMMIT (40 hex digits)")
    if revision in _MOVING or not _REVISION.fullmatch(revision):
        raise UserError(f"PLM '{told}': '{shorten(revision)}' can move; pin a commit (40 hex digits) or a tag")
    return Source(spec, "hub", place, revision)


def _path(text: str) -> Path:
    """A path with ``~`` written out; one of a user whom this machine does not know as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # not to be looked at, or no path at all
        return False


def architecture(spec: str) -> str:
    """The ``model_type`` of a PLM in a local folder, as its config.json says; empty where none can be read here."""
    pinned = _PINNED.fullmatch(spec)
    try:
        config = json.loads((_path(pinned[1] if pinned else spec) / "config.json").read_bytes())
        return str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def fingerprint(spec: str) -> str:
    """What of a PLM determines results, as one SHA-256 for a stage's key.

    Of a folder: the bytes of its configuration, weights and tokenizer, whatever its path. Of a hub id: id and
    revision, without the network; a tag is taken at its word. Of ``small``: its shape and recipe; its vocabulary
    comes from the table, whose fingerprint stands beside it.

    Raises:
        UserError: no valid specification, or the folder lacks a part.
    """
    source = parse(spec)
    if source.kind == "hub":
        return key_of({"hub": source.place, "revision": source.revision})
    if source.kind == "small":
        from flipbench.text.small import RECIPE

        return key_of({"small": RECIPE})
    return source.revision or _content(Path(source.place))


def _content(folder: Path) -> str:
    files = model_files(folder) + [f for f in map(folder.joinpath, FILES) if f.is_file()]
    return key_of({file.name: _digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)})


def model_files(folder: Path) -> list[Path]:
    """Configuration and weights of a PLM's folder.

    Raises:
        UserError: one of them is missing.
    """
    config, weights = folder / "config.json", sorted(folder.glob(WEIGHTS)) or sorted(folder.glob(OLD_WEIGHTS))
    if not config.is_file():
        raise UserError(f"{folder}: holds no config.json, so no PLM")
    if not weights:
        raise UserError(f"{folder}: holds no weights (model.safetensors or {OLD_WEIGHTS})")
    return [config, *weights]


def folder_of(source: Source) -> Path:
    """The folder of a hub id or a folder; a revision that is not in the hub's cache is downloaded.

    Raises:
        UserError: the hub cannot be reached or has no such id or revision, or the folder is not the one pinned.
    """
    if source.kind == "folder":
        folder = Path(source.place)
        if source.revision and (content := _content(folder)) != source.revision:
            raise UserError(f"PLM '{source.spec}': the folder's content is {content}, not the one that is pinned")
        return folder
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    from flipbench.text.quiet import quiet

    patterns = ["config.json", WEIGHTS, "model.safetensors.index.json", "tokenizer_config.json"]
    patterns += ["special_tokens_map.json", *FILES]
    with quiet():
        try:
            return _snapshot(source, patterns)
        except GatedRepoError:
            reason = "its owner lets only some accounts in; accept the terms and log in with 'hf auth login'"
        except RevisionNotFoundError:
            reason = f"the hub has no revision '{source.revision}' of it"
        except RepositoryNotFoundError:
            reason = "the hub has no such model (or a private one)"
        except HfHubHTTPError as error:
            reason = f"the hub answers: {str(error).strip().partition(chr(10))[0]}"
        except OSError:
            reason = "it is not in the cache, and the hub cannot be reached; a local folder or 'small' needs no network"
        except Exception as error:  # of the connection, while a file came in
            reason = f"the download failed: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    raise UserError(f"PLM '{source.spec}': {reason}")


def _snapshot(source: Source, patterns: list[str]) -> Path:
    """The folder of a pinned revision: it does not change, so what the cache has needs no asking."""
    from huggingface_hub import snapshot_download

    def get(*more: str, offline: bool = False) -> Path:
        wanted = [*patterns, *more]
        return Path(
            snapshot_download(source.place, revision=source.revision, allow_patterns=wanted, local_files_only=offline)
        )

    with contextlib.suppress(FileNotFoundError):
        cached = get(offline=True)
        if any(cached.glob(WEIGHTS)) or (cached / OLD_WEIGHTS).exists():
            return cached
    folder = get()
    return folder if any(folder.glob(WEIGHTS)) else get(OLD_WEIGHTS)


@cache
def _digest(file: Path, _size: int, _modified: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
