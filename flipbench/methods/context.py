"""What a method's model is made of, each part loaded when it is asked for."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from flipbench.data.table import Table
from flipbench.models.encoder import Encoder, load, load_tokenizer
from flipbench.models.id_model import IDModel
from flipbench.models.out_of_vocabulary import OutOfVocabulary
from flipbench.plan import registry
from flipbench.plan.stage import Stage
from flipbench.store.runs import Store
from flipbench.text.tokens import TokenStore
from flipbench.train.rng import Streams
from flipbench.train.weights import saved_weights

M = TypeVar("M", bound=torch.nn.Module)

_token_stores: dict[tuple[str, str], TokenStore] = {}


class MethodContext:
    """The data, the random numbers and the parts of a stage's method.

    Where the stage has a pretraining, parts come with its weights. Each part's start is a function of the seed alone
    and, but for :meth:`fresh_id_model`, moves torch's default generator not at all.

    Attributes:
        table: the data. streams: the run's random numbers.
        plm: the PLM's specification on this machine.
    """

    def __init__(self, stage: Stage, table: Table, store: Store | None = None) -> None:
        self.table, self.streams, self.plm = table, Streams(stage.seed), stage.local_paths["plm"]
        self._stage, self._store = stage, store

    @property
    def tokens(self) -> TokenStore:
        """The table's tokens under the PLM, on the CPU; built once a process."""
        key = (self.table.fingerprint, str(self._stage.spec["plm"]))
        if key not in _token_stores:
            _token_stores[key] = TokenStore.build(self.table, load_tokenizer(self.plm, self.table))
        return _token_stores[key]

    def fresh_id_model(self) -> IDModel:
        """The ID-based model that the setting ``backbone`` names, never pretrained.

        Leaves torch's default generator in the stream ``init`` behind the model's draws.
        """
        return fresh_id_model(self._backbone["name"], self._backbone["settings"], self.table, self.streams.seed)

    def id_model(self) -> IDModel:
        """The ID-based model that the setting ``backbone`` names."""
        with torch.random.fork_rng(devices=[]):
            model = self.fresh_id_model()
            weights = self.pretrained("id_model.")
            if weights and (before := self._stage.parents["pretrain"].spec["backbone"]) != self._backbone:
                with torch.device("meta"):  # dropout may be a layer that counts in the names of those after it
                    names = fresh_id_model(before["name"], before["settings"], self.table, 0).state_dict()
                weights = {new: weights[old] for new, old in zip(model.state_dict(), names, strict=True)}
        return _with_weights(model, weights)

    def encoder(self) -> Encoder:
        """The PLM's encoder; every call gives another copy."""
        with torch.random.fork_rng(devices=[]):
            encoder = load(self.plm, table=self.table, seed=self.streams.seed_of("init", 2))
        return _with_weights(encoder, self.pretrained("encoder."))

    def pretrained(self, part: str) -> dict[str, Tensor]:
        """The weights of another part (``prompts.``) that the pretraining left, without its name; empty without one."""
        return {name.removeprefix(part): tensor for name, tensor in self._weights.items() if name.startswith(part)}

    @property
    def pretraining(self) -> Mapping[str, Any]:
        """The settings of the pretraining that the stage, or the one whose weights it scores, starts from."""
        stage = self._stage.parents.get("fit", self._stage)
        return stage.parents["pretrain"].spec["settings"] if "pretrain" in stage.parents else {}

    @property
    def _backbone(self) -> Mapping[str, Any]:
        backbone: Mapping[str, Any] = self._stage.spec["backbone"]
        return backbone

    @cached_property
    def _weights(self) -> dict[str, Tensor]:
        # an evaluate stage has no such parent: all its weights are its fit's
        pretraining = self._stage.parents.get("pretrain")
        return saved_weights(self._store, pretraining) if self._store and pretraining else {}


def _with_weights(module: M, weights: Mapping[str, Tensor]) -> M:
    if weights:
        module.load_state_dict(weights)
    return module


def fresh_id_model(name: str, settings: Mapping[str, Any], table: Table, seed: int) -> IDModel:
    """A registered ID-based model for a table, its weights drawn from the seed's stream ``init``.

    With ``oov: trained`` among the settings its tables have rows for features that training never shows.
    """
    torch.manual_seed(Streams(seed).seed_of("init"))
    features, fields = table.num_features, len(table.fields)
    settings = dict(settings)
    trained = settings.pop("oov", "random") == "trained"
    model: IDModel = registry.get(name).load()(features + trained * fields, fields, **settings)
    if trained:
        model.out_of_vocabulary = OutOfVocabulary(features, fields)
    return model
