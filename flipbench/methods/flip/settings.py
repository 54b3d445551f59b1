"""Every choice in FLIP that the paper leaves open or the released code makes differently, by name. Imports no torch.

The defaults are the paper's equations, with the authors' shapes where the paper is silent (flavour ``paper``);
:data:`RELEASED` is what their code (justarter/FLIP @8c5c17f) does. The two differ by these switches and by nothing
else. Of the points on which paper and code disagree, these have no switch, because nothing that is learned depends on
them or because they are chosen elsewhere:

* clean [CLS] and clean v in ICL, masked features replaced by the mask feature always: both agree;
* noise drawn by frequency: both agree; the counts are those of the rows given to pretrain on;
* the MLM head's shape (linear, tanh, dropout, linear, its own weights): the paper gives "a two-layer MLP" only;
* 15 % of 8 (15) fields is int(1.2) = 1 (int(2.25) = 2) field: the paper cannot mean a share of a field;
* "DCNv2" as the full-rank model or as DCN-Mix: two registered ID models, ``dcnv2`` and ``dcnv2_mix``;
* the code encodes the clean text twice, for ICL and for MTM. One pass has the same expected gradient at two thirds
  of the cost, and the same gradient without dropout.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from flipbench.plan.settings import (
    DECAY,
    MAX_EPOCHS,
    TINYBERT,
    AtLeast,
    Code,
    Divides,
    Guess,
    Paper,
    Range,
    Setting,
    Valid,
)


def stated(setting: Setting) -> Any:
    """A field of a dataclass whose default is a setting's, with who says so."""
    return field(default=setting.value, metadata={"setting": setting})


def declared(cls: type) -> dict[str, Setting]:
    """The settings that the fields of a dataclass are; the choices of a literal type are their valid values."""
    hints = typing.get_type_hints(cls)
    return {
        f.name: replace(f.metadata["setting"], valid=_valid(f.metadata["setting"], hints[f.name])) for f in fields(cls)
    }


def _valid(setting: Setting, hint: Any) -> Any:
    return typing.get_args(hint) or setting.valid


@dataclass(frozen=True)
class PretrainSettings:
    """What modality alignment pretraining learns (paper IV-C), and how much of it is hidden."""

    mlm: bool = stated(Paper(True, "IV-C3"))
    """Masked language modelling; off in the ablation "w/o MLM"."""
    mtm: bool = stated(Paper(True, "IV-C4"))
    """Masked tabular modelling; off in "w/o MTM"."""
    icl: bool = stated(Paper(True, "IV-C5"))
    """Instance-level contrastive learning; off in "w/o ICL"."""
    joint_reconstruction: bool = stated(Paper(True, "IV-C3, IV-C4; off in Table VII"))
    """Whether MLM and MTM see the other modality. Off, the MLM head sees the masked text alone and the MTM predictor
    the masked table's representation alone."""
    mask_unit: Literal["field", "token"] = stated(Paper("field", "IV-C1; token in Table VII"))
    """What the text is masked by: whole field values, or single tokens in "w/o Field-level Masking"."""
    text_mask_ratio: float = stated(Paper(0.15, "V-A4: r_text", Valid.RATIO))
    """Share of the fields whose value is masked in the text; of the tokens, where tokens are the unit."""
    table_mask_ratio: float = stated(Paper(0.15, "V-A4: r_tab", Valid.RATIO))
    """Share of the fields masked in the table."""

    icl_head: Literal["linear", "residual"] = stated(Paper("linear", "IV-C5"))
    """``linear``: linear layer and LayerNorm. ``residual``: two layers with a residual GELU, dropout .2 and LayerNorm
    (code)."""
    icl_dim: int = stated(Code(128, "the paper does not say", Valid.WIDTH))
    """Size of the projections."""
    icl_similarity: Literal["dot", "unit", "max"] = stated(Paper("dot", "Eq. 11, and code"))
    """``dot``: product of the LayerNorm outputs, |z| about sqrt(128). ``unit``: of unit vectors (what Fig. 9's text
    suggests); temperature t there is 128 t here. ``max``: of parts of the vectors, for each of the table's the text's
    that suits it best (CTRL; the code holds it unused)."""
    icl_parts: int = stated(
        Guess(4, "as CTRL's; nothing in FLIP has parts", Valid.WIDTH, only_with=("icl_similarity", "max"))
    )
    """Parts that ``max`` splits either vector into."""
    temperature: float = stated(Paper(0.7, "V-A4: tau of Eq. 11-12", Range(1e-9, 1e9)))
    icl_weight: float = stated(Paper(1.0, "Eq. 14", Range(0.0, 1e9)))
    """Weight of ICL beside MLM and MTM. The authors' run on 8 GPUs amounts to 1/8."""
    icl_gather: Literal["gradient", "no-gradient"] = stated(Guess("gradient", "what one process computes"))
    """How several processes share their projections. ``gradient``: exactly the global batch's gradient.
    ``no-gradient``: 1 / processes of it (code). The same in one process."""

    mtm_query: Literal["matrix", "norm"] = stated(Paper("matrix", "Eq. 7"))
    """``matrix``: v Q. ``norm``: LayerNorm(v Q + b) (code)."""
    mtm_scale: bool = stated(Paper(True, "Eq. 7; not in code"))
    """Whether attention scores are divided by sqrt(D_text)."""
    mtm_padding: bool = stated(Paper(False, "Eq. 7 has the text's tokens only"))
    """Whether padding is attended to (code). The amount of padding then matters: here up to the batch's longest
    row, in code up to 100 or 180 tokens."""
    mtm_head: Literal["mlp", "linear"] = stated(Paper("mlp", "Eq. 8"))
    """``mlp``: an MLP for each field on u (one hidden layer of ``mtm_hidden``). ``linear``: one linear map of [v; u] to
    all fields (code)."""
    mtm_hidden: int = stated(Guess(128, "neither says", Valid.WIDTH))
    """Width of the hidden layer of ``mlp``."""
    mtm_dim: int = stated(Code(32, "Eq. 8 has the product only", Valid.WIDTH))
    """Size of the predicted and of the features' output embeddings."""
    mtm_loss: Literal["bce", "nce"] = stated(Paper("bce", "Eq. 10"))
    """``bce``: as printed. ``nce``: logits corrected by -ln q - ln K - ln M, biases started at ln q + ln M (code)."""
    noise: int = stated(Paper(25, "V-A4: K", Valid.WIDTH))
    """Noise features for each masked feature."""
    mlm_average: Literal["sample", "token"] = stated(Paper("sample", "Eq. 6, 14"))
    """``sample``: over a sample's masked tokens, then over samples. ``token``: over all masked tokens of the process's
    batch (code), so that long values weigh more."""


PRETRAIN_SETTINGS: dict[str, Setting] = {
    **declared(PretrainSettings),
    "epochs": Paper(30, "V-A4", Valid.EPOCHS),
    "batch_size": Paper(1024, "V-A4; the launcher has 512 for RoBERTa-base and 128 for RoBERTa-large", Valid.ROWS),
    "learning_rate": Paper(
        5e-5, "V-A4: AdamW's, a cosine stepped once an epoch; 1e-4 in the launcher", Valid.LEARNING_RATE
    ),
    "weight_decay": Code(1e-3, "on every parameter; the paper does not say", Valid.PENALTY),
    "precision": Guess(
        "float32",
        "neither says; bfloat16: autocast in the PLM and its heads, logits, softmax and losses in float32",
        Valid.PRECISION,
    ),
}
PRETRAIN_RULES = (Divides("icl_parts", "icl_dim"), AtLeast("batch_size", 2, "a row is contrasted with the others"))
SWITCHES = ("mlm", "mtm", "icl")

FINETUNE_SETTINGS: dict[str, Setting] = {
    "backbone": Paper("dcnv2", "V-A4: DCNv2; the released code's is dcnv2_mix"),
    "plm": Paper(TINYBERT, "V-A4"),
    "flavour": Guess("paper", "the paper's equations, rather than the released code where they differ"),
    "learning_rate": Guess(1e-3, "of all but the PLM; searched over 1e-5 to 5e-3 (V-A4)", Valid.LEARNING_RATE),
    "plm_learning_rate": Code(5e-5, "the paper does not split the two", Valid.LEARNING_RATE),
    "weight_decay": Paper(0.0, "V-A4: Adam; 1e-3 on every parameter with AdamW in code", Valid.PENALTY),
    "embedding_l2": Guess(0.0, "the code adds 1e-4 |E|^2 on MovieLens-1M and BookCrossing: lambda 2e-4", Valid.PENALTY),
    "alpha_start": Code(0.0, "alpha of Eq. 16; at 0 the prediction is the language model's"),
    "batch_size": Paper(256, "V-A4; 2048 for GoodReads", Valid.ROWS),
    "decay": DECAY,
    "max_epochs": MAX_EPOCHS,
    "patience": Code(3, "epochs without a better validation AUC; the paper does not say", Valid.EPOCHS),
    "precision": Guess("float32", "as in pretraining", Valid.PRECISION),
}

RELEASED: Mapping[str, Any] = {
    "learning_rate": 5e-5,
    "weight_decay": 1e-3,
    "embedding_l2": 2e-4,
    "decay": "none",
    "max_epochs": 25,
    "pretrain": {
        "icl_head": "residual",
        "icl_weight": 1 / 8,
        "mtm_query": "norm",
        "mtm_scale": False,
        "mtm_padding": True,
        "mtm_head": "linear",
        "mtm_loss": "nce",
        "mlm_average": "token",
        "learning_rate": 1e-4,
    },
}
"""In one process. In as many processes as the authors' eight, ``icl_weight: 1`` with ``icl_gather: no-gradient`` is
their very run; the two are the same gradient."""

GRID: dict[str, list[Any]] = {
    "learning_rate": [1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3],  # V-A4
    "embedding_l2": [0.0, 1e-6, 1e-5, 1e-4, 1e-3],  # the baselines' range
}
