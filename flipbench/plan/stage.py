"""Stages: the units of work, and the chain of them behind one run of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan import registry
from flipbench.plan.registry import Declaration
from flipbench.plan.settings import PRETRAIN, TRAINING, Value, flatten
from flipbench.protocol import Order, Protocol

ENGINE_VERSION = 1
"""Part of every key: raise it when a change in the engine changes results."""


@dataclass(frozen=True)
class Stage:
    """A unit of work; its key is the SHA-256 of all that determines its result.

    Attributes:
        role: ``pretrain`` (align an ID-based model and a PLM on the training rows, labels unused), ``select``
            (train with a validation part, keep the epoch count), ``refit`` (train on the whole training part for
            that many epochs), ``fit`` (as-released: train, keep the best epoch on test), ``evaluate`` (score the
            test rows) or a registered inspection (measure a pretraining; labels
            unused).
        spec: what determines the result, as JSON values; parents appear by key.
        parents: the stages whose results this one reads, by role.
        local_paths: where this machine has what the specification names by fingerprint (a PLM's folder).
    """

    role: str
    spec: Mapping[str, Any]
    parents: Mapping[str, "Stage"] = field(default_factory=dict)
    local_paths: Mapping[str, str] = field(default_factory=dict)

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

    @property
    def trains(self) -> bool:
        """Whether it trains a model; else it scores (``evaluate``) or inspects one."""
        return self.role in ("pretrain", "select", "refit", "fit")

    @property
    def inspects(self) -> bool:
        """Whether it measures a pretraining."""
        return not self.trains and self.role != "evaluate"

    @property
    def is_floor(self) -> bool:
        """Whether its method is a floor, which may score all rows alike."""
        return registry.get(self.method).kind == "floor"

    @property
    def leaves_weights(self) -> bool:
        """Whether its run folder holds weights: of a selection only the epoch count is read, the others score."""
        return self.role in ("pretrain", "refit", "fit")

    def __str__(self) -> str:
        return f"{self.role} {self.dataset} {self.method} s{self.seed}"


@dataclass(frozen=True)
class DataCondition:
    """The data and protocol of a cell."""

    protocol: Protocol
    dataset: str
    fingerprint: str
    order: Order
    users: float = 1.0


def evaluation_stage(condition: DataCondition, declared: Declaration, settings: Mapping[str, Any], seed: int) -> Stage:
    """The ``evaluate`` stage of one run, with its parents under the protocol.

    Args:
        settings: of the method, nested as in a suite.

    Raises:
        UserError: its PLM or backbone does not exist.
    """
    common: dict[str, Any] = {
        **_data(condition),
        "protocol": condition.protocol,
        "method": declared.name,
        "version": declared.version,
        "settings": _canonical_settings(settings),
        "seed": seed,
    }
    first: dict[str, Stage] = {}
    local_paths: dict[str, str] = {}
    if declared.kind in ("plm", "hybrid"):
        from flipbench.text.source import fingerprint

        local_paths = {"plm": str(settings["plm"])}
        plm = fingerprint(local_paths["plm"])
        common |= {**_backbone(settings), "plm": plm}
        pretraining = _pretraining(condition, declared, settings, plm, seed, local_paths)
        first = {"pretrain": pretraining} if pretraining else {}

    def stage(role: str, **parents: Stage) -> Stage:
        keys = {name: parent.key for name, parent in parents.items()}
        return Stage(role, {**common, "role": role, "parents": keys}, parents, local_paths)

    if condition.protocol == "as-released":
        return stage("evaluate", fit=stage("fit", **first))
    return stage("evaluate", fit=stage("refit", select=stage("select", **first), **first))


def selection_stage(last: Stage) -> Stage:
    """The stage of a run whose validation figure a search compares."""
    fitted = last.parents["fit"]
    return fitted.parents.get("select", fitted)


def inspection_stage(
    what: str, condition: DataCondition, declared: Declaration, settings: Mapping[str, Any], seed: int
) -> Stage:
    """The stage of a registered inspection of the pretraining that a method's ``settings`` name.

    Raises:
        UserError: there is no such pretraining, or it has not learned what is to be measured.
    """
    from flipbench.text.source import fingerprint

    inspection = registry.inspection(what)
    local_paths = {"plm": str(settings.get("plm", ""))}
    pretraining = None
    if declared.pretraining in inspection.pretrainings:
        pretraining = _pretraining(condition, declared, settings, fingerprint(local_paths["plm"]), seed, local_paths)
    if pretraining is None:
        raise UserError(f"inspect: {what}: nothing is pretrained that it could measure")
    if off := next((name for name in inspection.needs if not pretraining.spec["settings"][name]), None):
        raise UserError(f"inspect: {what}: measures what {PRETRAIN}.{off} learns, which is off")
    spec = {
        **_data(condition),
        "method": pretraining.method,
        "version": inspection.version,
        "settings": dict(inspection.settings),
        "seed": seed,
        "role": what,
        "parents": {"pretrain": pretraining.key},
    }
    return Stage(what, spec, {"pretrain": pretraining}, local_paths)


def _data(condition: DataCondition) -> dict[str, Any]:
    return {
        "engine": ENGINE_VERSION,
        "dataset": condition.dataset,
        "data": condition.fingerprint,
        "order": condition.order,
        **({"users": condition.users} if condition.users < 1 else {}),
    }


def _pretraining(
    condition: DataCondition,
    declared: Declaration,
    settings: Mapping[str, Any],
    plm: str,
    seed: int,
    local_paths: Mapping[str, str],
) -> Stage | None:
    """The pretraining that a run starts from: one for every method and finetuning that names the same; None without."""
    if not declared.pretraining:
        return None
    pretraining = registry.pretraining(declared.pretraining)
    if not pretraining.is_on(settings[PRETRAIN]):
        return None
    spec = {
        **_data(condition),
        "method": pretraining.name,
        "version": pretraining.version,
        **_backbone(settings),
        "plm": plm,
        "settings": _settings_read(pretraining, settings[PRETRAIN]),
        "seed": seed,
        "role": "pretrain",
        "parents": {},
    }
    return Stage("pretrain", spec, local_paths=local_paths)


def _settings_read(declared: Declaration, settings: Mapping[str, Any]) -> dict[str, Value]:
    """The settings that are read where the others have their values: only those determine a result."""
    conditions = {name: setting.only_with for name, setting in flatten(declared.settings).items()}
    return {n: v for n, v in settings.items() if not (c := conditions[n]) or settings[c[0]] == c[1]}


def _backbone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ID-based model at its declared settings, without those of its training; nothing where there is none."""
    if "backbone" not in settings:
        return {}
    declared = registry.get(str(settings["backbone"]))
    if declared.kind != "id":
        raise UserError(f"backbone: '{declared.name}' is no ID-based model; valid: {', '.join(registry.names('id'))}")
    model = {name: s.value for name, s in flatten(declared.settings).items() if name not in TRAINING}
    return {"backbone": {"name": declared.name, "version": declared.version, "settings": model}}


def _canonical_settings(settings: Mapping[str, Any]) -> dict[str, Value]:
    """What a fit is determined by beside its parents and what its specification names apart, as a key spells it.

    ``flavour`` only names a set of the others; ``precision`` came later than the first results, which all had float32.
    """
    apart = ("backbone", "plm", "flavour", PRETRAIN)
    return {n: v for n, v in settings.items() if n not in apart and (n, v) != ("precision", "float32")}
