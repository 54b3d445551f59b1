"""Stages: the units of work, and the chain of them behind one run of a method."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from flipbench.errors import UserError
from flipbench.identity import key_of
from flipbench.plan import registry
from flipbench.plan.registry import Declaration
from flipbench.plan.settings import PRETRAIN, TRAINING, Value, check_value, flatten
from flipbench.protocol import Order, Protocol, Validation

ENGINE_VERSION = 1
"""Part of every key: raise it when a change in the engine changes results."""

_OF_BACKBONE = "backbone_"
"""How settings of a method's ID-based model begin."""
BACKBONE_DROPOUT = "backbone_dropout"
"""The one of them that finetuning alone reads: every dropout starts from one pretraining."""


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
        is_scored: whether test rows are scored with its weights, of a selection that nothing is refitted after.
    """

    role: str
    spec: Mapping[str, Any]
    parents: Mapping[str, "Stage"] = field(default_factory=dict)
    local_paths: Mapping[str, str] = field(default_factory=dict)
    is_scored: bool = False

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
        """Whether its run folder holds weights: of a selection before a refit only the epoch count is read."""
        return self.role in ("pretrain", "refit", "fit") or self.is_scored

    def __str__(self) -> str:
        return f"{self.role} {self.dataset} {self.method} s{self.seed}"


@dataclass(frozen=True)
class DataCondition:
    """The data and protocol of a cell.

    Attributes:
        validation, refit: of ``held-out``: what is selected on, and whether the model is then fitted on all training
            rows.
        versions: of methods and pretrainings by name, where the runs that are meant were made with an earlier one.
    """

    protocol: Protocol
    dataset: str
    fingerprint: str
    order: Order
    users: float = 1.0
    validation: Validation = "last-ninth"
    refit: bool = True
    versions: Mapping[str, int] = field(default_factory=dict)

    def version_of(self, declared: Declaration) -> int:
        return self.versions.get(declared.name, declared.version)


def evaluation_stage(condition: DataCondition, declared: Declaration, settings: Mapping[str, Any], seed: int) -> Stage:
    """The ``evaluate`` stage of one run, with its parents under the protocol.

    Args:
        settings: of the method, nested as in a suite.

    Raises:
        UserError: its PLM or backbone does not exist.
    """
    common: dict[str, Any] = {
        **_data(condition),
        **_protocol(condition),
        "method": declared.name,
        "version": condition.version_of(declared),
        "settings": _canonical_settings(declared, settings),
        "seed": seed,
    }
    first: dict[str, Stage] = {}
    local_paths: dict[str, str] = {}
    if declared.kind in ("plm", "hybrid"):
        from flipbench.text.source import fingerprint

        local_paths = {"plm": str(settings["plm"])}
        plm = fingerprint(local_paths["plm"])
        common |= {**_backbone(condition, settings), "plm": plm}
        pretraining = _pretraining(condition, declared, settings, plm, seed, local_paths)
        first = {"pretrain": pretraining} if pretraining else {}

    def stage(role: str, **parents: Stage) -> Stage:
        keys = {name: parent.key for name, parent in parents.items()}
        refit = {} if condition.refit or condition.protocol == "as-released" or role != "evaluate" else {"refit": False}
        return Stage(role, {**common, **refit, "role": role, "parents": keys}, parents, local_paths)

    if condition.protocol == "as-released":  # nothing is refitted there, whatever the condition says
        return stage("evaluate", fit=stage("fit", **first))
    selection = stage("select", **first)
    if not condition.refit:
        return stage("evaluate", fit=replace(selection, is_scored=True))
    return stage("evaluate", fit=stage("refit", select=selection, **first))


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


def _protocol(condition: DataCondition) -> dict[str, Any]:
    """The protocol as a key spells it; ``last-ninth`` is what all had before there was a choice."""
    held_out = condition.protocol == "held-out" and condition.validation != "last-ninth"
    return {"protocol": condition.protocol, **({"validation": condition.validation} if held_out else {})}


def validation_of(spec: Mapping[str, Any]) -> Validation:
    """What a held-out specification's epochs were selected on."""
    validation: Validation = spec.get("validation", "last-ninth")
    return validation


def is_refitted(spec: Mapping[str, Any]) -> bool:
    """Whether a held-out evaluation scores a model that was fitted on all training rows after its selection."""
    return bool(spec.get("refit", True))


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
        "version": condition.version_of(pretraining),
        **_backbone(condition, {n: v for n, v in settings.items() if n != BACKBONE_DROPOUT}),
        "plm": plm,
        "settings": _settings_read(pretraining, settings[PRETRAIN]),
        "seed": seed,
        "role": "pretrain",
        "parents": {},
    }
    return Stage("pretrain", spec, local_paths=local_paths)


def _settings_read(declared: Declaration, settings: Mapping[str, Any]) -> dict[str, Value]:
    """The settings that are read where the others have their values: only those determine a result."""
    known = flatten(declared.settings)
    conditions = {name: setting.only_with for name, setting in known.items()}
    read = {n: v for n, v in settings.items() if not (c := conditions[n]) or settings[c[0]] == c[1]}
    return {n: v for n, v in read.items() if known[n].is_keyed(v)}


def _backbone(condition: DataCondition, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The ID-based model at its declared settings, without those of its training; nothing where there is none.

    A method's setting ``backbone_NAME`` stands for the model's NAME; 0, false or ``own`` leave the declared value.

    Raises:
        UserError: no such model, one of another kind, or one that has no such setting or value.
    """
    if "backbone" not in settings:
        return {}
    declared = registry.get(str(settings["backbone"]))
    if declared.kind != "id":
        raise UserError(f"backbone: '{declared.name}' is no ID-based model; valid: {', '.join(registry.names('id'))}")
    known = {name: s for name, s in flatten(declared.settings).items() if name not in TRAINING}
    given = {n.removeprefix(_OF_BACKBONE): v for n, v in settings.items() if n.startswith(_OF_BACKBONE)}
    model = {name: s.value for name, s in known.items()}
    for name, value in given.items():
        if value in (0, "own"):
            continue
        if name not in known:
            own = {str: "own", bool: "false"}.get(type(value), "0")
            raise UserError(f"{_OF_BACKBONE}{name}: '{declared.name}' has no setting '{name}'; nearest: {own}")
        model[name] = check_value(f"{_OF_BACKBONE}{name}: {declared.name}", value, known[name])
    model = {name: value for name, value in model.items() if known[name].is_keyed(value)}
    return {"backbone": {"name": declared.name, "version": condition.version_of(declared), "settings": model}}


def _canonical_settings(declared: Declaration, settings: Mapping[str, Any]) -> dict[str, Value]:
    """What a fit is determined by beside its parents and what its specification names apart, as a key spells it.

    ``flavour`` only names a set of the others; ``precision`` came later than the first results, which all had float32.
    """
    apart = ("backbone", "plm", "flavour", PRETRAIN, *(n for n in settings if n.startswith(_OF_BACKBONE)))
    kept = {n: v for n, v in settings.items() if n not in apart and (n, v) != ("precision", "float32")}
    known = flatten(declared.settings)
    return {n: v for n, v in kept.items() if known[n].is_keyed(v)}
