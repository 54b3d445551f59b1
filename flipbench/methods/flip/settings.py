"""Every choice in FLIP that the paper leaves open or the released code makes differently, by name.

``PAPER`` is the equations, with the authors' shapes where the paper is silent; ``RELEASED`` is what their code
(justarter/FLIP @8c5c17f) does. The two differ by the switches below and by nothing else. Of the points on which
paper and code disagree, these have no switch, because nothing that is learned depends on them or because they are
chosen elsewhere:

* clean [CLS] and clean v in ICL, masked features replaced by the mask feature always: both agree;
* noise drawn by frequency: both agree; the counts are those of the rows given to pretrain on;
* the MLM head's shape (linear, tanh, dropout, linear, its own weights): the paper gives "a two-layer MLP" only;
* 15 % of 8 (15) fields is int(1.2) = 1 (int(2.25) = 2) field: the paper cannot mean a share of a field;
* "DCNv2" as the full-rank model or as DCN-Mix: two registered ID models, ``dcnv2`` and ``dcnv2_mix``;
* the code encodes the clean text twice, for ICL and for MTM. One pass has the same expected gradient at two thirds
  of the cost, and the same gradient without dropout.
"""

import typing
from dataclasses import dataclass, replace
from typing import Any, Literal

from flipbench.errors import UserError, nearest
from flipbench.plan.settings import AtLeast, Divides, check_rules
from flipbench.protocol import Precision

VERSION = 1
"""Part of every pretraining's key: raise it when a change in the method changes results."""


def _check_choices(settings: Any) -> None:
    """Compare every field of a literal type with its values.

    Raises:
        UserError: a value that is none of them.
    """
    for name, kind in typing.get_type_hints(type(settings)).items():
        valid, value = typing.get_args(kind), getattr(settings, name)
        if valid and value not in valid:
            raise UserError(f"{name}: unknown '{value}'{nearest(str(value), valid)}")


_RULES = (Divides("icl_parts", "icl_dim"), AtLeast("batch_size", 2, "a row is contrasted with the others"))
"""What must hold between the settings of a pretraining."""


@dataclass(frozen=True)
class PretrainSettings:
    """Modality alignment pretraining (paper IV-C); the defaults are the flavour ``paper``.

    Raises:
        UserError: a value out of its range, or no objective left.
    """

    mlm: bool = True
    """Masked language modelling (IV-C3); off in the ablation "w/o MLM"."""
    mtm: bool = True
    """Masked tabular modelling (IV-C4); off in "w/o MTM"."""
    icl: bool = True
    """Instance-level contrastive learning (IV-C5); off in "w/o ICL"."""
    joint_reconstruction: bool = True
    """Whether MLM and MTM see the other modality; off in "w/o Joint Reconstruction" (Table VII): the MLM head then
    sees the masked text alone and the MTM predictor the masked table's representation alone."""
    mask_unit: Literal["field", "token"] = "field"
    """What the text is masked by: whole field values (IV-C1), or single tokens in "w/o Field-level Masking"."""
    text_mask_ratio: float = 0.15
    """r_text (V-A4): share of the fields whose value is masked; of the tokens, where tokens are the unit."""
    table_mask_ratio: float = 0.15
    """r_tab (V-A4): share of the fields masked in the table."""

    icl_head: Literal["linear", "residual"] = "linear"
    """``linear``: linear layer and LayerNorm (IV-C5). ``residual``: two layers with a residual GELU, dropout .2 and
    LayerNorm (code)."""
    icl_dim: int = 128
    """Size of the projections (code; the paper does not say)."""
    icl_similarity: Literal["dot", "unit", "max"] = "dot"
    """``dot``: product of the LayerNorm outputs, |z| about sqrt(128) (Eq. 11, and code). ``unit``: of unit vectors
    (what Fig. 9's text suggests); temperature t there is 128 t here. ``max``: of parts of the vectors, for each of the
    table's the text's that suits it best (CTRL; the code holds it unused)."""
    icl_parts: int = 4
    """Parts that ``max`` splits either vector into; no part of the key elsewhere."""
    temperature: float = 0.7
    """tau of Eq. 11-12 (V-A4)."""
    icl_weight: float = 1.0
    """Weight of ICL beside MLM and MTM (Eq. 14: 1). The authors' run on 8 GPUs amounts to 1/8."""
    icl_gather: Literal["gradient", "no-gradient"] = "gradient"
    """How several processes share their projections. ``gradient``: exactly the global batch's gradient.
    ``no-gradient``: 1 / processes of it (code). The same in one process."""

    mtm_query: Literal["matrix", "norm"] = "matrix"
    """``matrix``: v Q (Eq. 7). ``norm``: LayerNorm(v Q + b) (code)."""
    mtm_scale: bool = True
    """Whether attention scores are divided by sqrt(D_text) (Eq. 7); not in code."""
    mtm_padding: bool = False
    """Whether padding is attended to (code). The amount of padding then matters: here up to the batch's longest
    row, in code up to 100 or 180 tokens."""
    mtm_head: Literal["mlp", "linear"] = "mlp"
    """``mlp``: an MLP for each field on u (Eq. 8; one hidden layer of ``mtm_hidden``). ``linear``: one linear map of
    [v; u] to all fields (code)."""
    mtm_hidden: int = 128
    """Width of the hidden layer of ``mlp`` (a guess: neither says)."""
    mtm_dim: int = 32
    """Size of the predicted and of the features' output embeddings (code; Eq. 8 has the product only)."""
    mtm_loss: Literal["bce", "nce"] = "bce"
    """``bce``: Eq. 10 as printed. ``nce``: logits corrected by -ln q - ln K - ln M, biases started at
    ln q + ln M (code)."""
    noise: int = 25
    """K noise features for each masked feature (V-A4)."""
    mlm_average: Literal["sample", "token"] = "sample"
    """``sample``: over a sample's masked tokens, then over samples (Eq. 6, 14). ``token``: over all masked tokens of
    the process's batch (code), so that long values weigh more."""

    epochs: int = 30
    """V-A4."""
    batch_size: int = 1024
    """Rows a step over all processes (V-A4). The launcher has 512 for RoBERTa-base and 128 for RoBERTa-large."""
    learning_rate: float = 5e-5
    """AdamW's, at the start of a cosine stepped once an epoch (V-A4); 1e-4 in the launcher."""
    weight_decay: float = 1e-3
    """AdamW's, on every parameter (code; the paper does not say)."""
    precision: Precision = "float32"
    """``bfloat16``: autocast in the language model and its heads; logits of ICL and MTM, softmax and losses stay
    float32."""

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in ("text_mask_ratio", "table_mask_ratio"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"{name}: {getattr(self, name):g} is not above 0 and at most 1; the paper's is 0.15")
        for name in ("temperature", "learning_rate", "icl_dim", "mtm_hidden", "mtm_dim", "noise", "epochs"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: {getattr(self, name):g} is not above 0")
        for name in ("icl_weight", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}: {getattr(self, name):g} is below 0")
        check_rules(_RULES, vars(self))
        if not (self.mlm or self.mtm or self.icl):
            raise UserError("mlm, mtm, icl: all off leaves nothing to pretrain on; finetune without a pretraining")


def canonical_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a pretraining as its key spells them; none where they leave nothing to pretrain on.

    What came after the first results stands there only where it is read.

    Raises:
        UserError: a value out of its range.
    """
    if not (given["mlm"] or given["mtm"] or given["icl"]):
        return {}
    settings = PretrainSettings(**given)
    return {name: value for name, value in given.items() if name != "icl_parts" or settings.icl_similarity == "max"}


@dataclass(frozen=True)
class FinetuneSettings:
    """Supervised finetuning of FLIP, FLIP_ID and FLIP_PLM (paper IV-D); the defaults are the flavour ``paper``.

    Raises:
        UserError: a value out of its range.
    """

    learning_rate: float = 1e-3
    """Of all but the language model; searched over 1e-5 to 5e-3 (V-A4)."""
    plm_learning_rate: float = 5e-5
    """Of the language model (code; the paper does not split the two)."""
    weight_decay: float = 0.0
    """0 is Adam (V-A4); 1e-3 on every parameter with AdamW (code)."""
    embedding_l2: float = 0.0
    """lambda of lambda/2 |E|^2 beside the loss, over all rows of the ID model's tables. The code adds 1e-4 |E|^2 on
    MovieLens-1M and BookCrossing: lambda 2e-4."""
    alpha_start: float = 0.0
    """Where alpha of Eq. 16 starts: at 0 the prediction is the language model's (code)."""
    batch_size: int = 256
    """V-A4; 2048 for GoodReads."""
    max_epochs: int = 25
    """Upper limit (code), or the exact number where there is no validation part."""
    patience: int = 3
    """Epochs without a better validation AUC before stopping (code)."""
    precision: Precision = "float32"
    """As in pretraining."""

    def __post_init__(self) -> None:
        _check_choices(self)
        for name in ("learning_rate", "plm_learning_rate", "batch_size", "max_epochs", "patience"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: {getattr(self, name):g} is not above 0")
        for name in ("weight_decay", "embedding_l2"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}: {getattr(self, name):g} is below 0")


@dataclass(frozen=True)
class Flavour:
    """A named reading of the method."""

    pretrain: PretrainSettings
    finetune: FinetuneSettings


PAPER = Flavour(PretrainSettings(), FinetuneSettings())
RELEASED = Flavour(
    replace(
        PAPER.pretrain,
        icl_head="residual",
        icl_weight=1 / 8,
        mtm_query="norm",
        mtm_scale=False,
        mtm_padding=True,
        mtm_head="linear",
        mtm_loss="nce",
        mlm_average="token",
        learning_rate=1e-4,
    ),
    replace(PAPER.finetune, learning_rate=5e-5, weight_decay=1e-3, embedding_l2=2e-4),
)
"""In one process. In as many processes as the authors' eight, ``icl_weight=1`` with ``icl_gather="no-gradient"`` is
their very run; the two are the same gradient."""
