"""Stages: the units of work, and the chain of them behind one run of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flipbench import registry
from flipbench.identity import key_of
from flipbench.method import TRAINING, Value
from flipbench.protocol import Order, Protocol
from flipbench.registry import Declaration

ENGINE_VERSION = 1
"""Part of every key: raise it when a change in the engine changes results."""

PRETRAIN = "pretrain."
"""Settings that begin so belong to the pretraining, and to its key alone."""


@dataclass(frozen=True)
class Stage:
    """A unit of work; its key is the SHA-256 of all that determines its result.

    Attributes:
        role: ``pretrain`` (align an ID-based model and a PLM on the training rows, labels unused), ``select``
            (train with a validation part, keep the epoch count), ``refit`` (train on the whole training part for
            that many epochs), ``fit`` (as-released: train, keep the best epoch on test) or ``evaluate`` (score the
            test rows).
        spec: what determines the result, as JSON values; parents appear by key.
        parents: the stages whose results this one reads, by role.
        places: where this machine has what the specification names by fingerprint (a PLM's folder).
    """

    role: str
    spec: Mapping[str, Any]
    parents: Mapping[str, "Stage"] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        return key_of(self.spec)

    @property
    def dataset(self) -> str:
        return str(self.spec["dataset"])

    @property
    def method(self) -> str:
        return str(self.spec["method"])

    @property
    def seed(self) -> int:
        return int(self.spec["seed"])

    def reads_weights(self, parent: "Stage") -> bool:
        """Whether it reads a parent's weights, not only its figures."""
        return parent.role != "select"

    def __str__(self) -> str:
        return f"{self.role} {self.dataset} {self.method} s{self.seed}"


@dataclass(frozen=True)
class Where:
    """The data and protocol of a cell."""

    protocol: Protocol
    dataset: str
    fingerprint: str
    order: Order


def final(where: Where, declared: Declaration, settings: Mapping[str, Value], seed: int) -> Stage:
    """The ``evaluate`` stage of one run, with its parents under the protocol."""
    common: dict[str, Any] = {
        **_data(where),
        "protocol": where.protocol,
        "method": declared.name,
        "version": declared.version,
        "settings": _spelled(settings),
        "seed": seed,
    }
    first: dict[str, Stage] = {}
    places: dict[str, str] = {}
    if declared.kind != "id":
        from flipbench.text.source import fingerprint

        places = {"plm": str(settings["plm"])}
        plm = fingerprint(places["plm"])
        common |= {"backbone": _backbone(settings), "plm": plm, "settings": _without_pretraining(settings)}
        pretraining = _pretraining(where, settings, plm, seed, places)
        first = {"pretrain": pretraining} if pretraining else {}

    def stage(role: str, **parents: Stage) -> Stage:
        keys = {name: parent.key for name, parent in parents.items()}
        return Stage(role, {**common, "role": role, "parents": keys}, parents, places)

    if where.protocol == "as-released":
        return stage("evaluate", fit=stage("fit", **first))
    return stage("evaluate", fit=stage("refit", select=stage("select", **first), **first))


def trial(last: Stage) -> Stage:
    """The stage of a run whose validation figure a search compares."""
    fitted = last.parents["fit"]
    return fitted.parents.get("select", fitted)


def _spelled(settings: Mapping[str, Value]) -> dict[str, Value]:
    """Settings as a key spells them: ``precision`` came later than the first results, which all had float32."""
    return {name: value for name, value in settings.items() if (name, value) != ("precision", "float32")}


def _data(where: Where) -> dict[str, Any]:
    return {
        "engine": ENGINE_VERSION,
        "dataset": where.dataset,
        "data": where.fingerprint,
        "order": where.order,
    }


def _pretraining(
    where: Where, settings: Mapping[str, Value], plm: str, seed: int, places: Mapping[str, str]
) -> Stage | None:
    """The pretraining that a run starts from: one for every method and finetuning that names the same; None without."""
    from flipbench.flip.settings import VERSION, PretrainSettings

    own: dict[str, Any] = {
        name.removeprefix(PRETRAIN): value for name, value in settings.items() if name.startswith(PRETRAIN)
    }
    if not (own["mlm"] or own["mtm"] or own["icl"]):
        return None
    PretrainSettings(**own)  # refuses values that make no sense together
    spec = {
        **_data(where),
        "method": "pretraining",
        "version": VERSION,
        "backbone": _backbone(settings),
        "plm": plm,
        "settings": own,
        "seed": seed,
        "role": "pretrain",
        "parents": {},
    }
    return Stage("pretrain", spec, places=places)


def _backbone(settings: Mapping[str, Value]) -> dict[str, Any]:
    """The ID-based model at its declared settings, without those of its training."""
    declared = registry.get(str(settings["backbone"]))
    own = {name: setting.value for name, setting in declared.settings.items() if name not in TRAINING}
    return {"name": declared.name, "version": declared.version, "settings": own}


def _without_pretraining(settings: Mapping[str, Value]) -> dict[str, Value]:
    """What a finetuning is determined by beside its parents; ``flavour`` only names a set of the others."""
    named = ("backbone", "plm", "flavour")
    own = {name: value for name, value in settings.items() if name not in named and not name.startswith(PRETRAIN)}
    return _spelled(own)
