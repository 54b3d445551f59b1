"""Every choice in FLIP that the paper leaves open or the released code makes differently, by name. Imports no torch.

The defaults are the paper's equations, with the authors' shapes where the paper is silent (flavour ``paper``);
flavour ``released`` is what their code (justarter/FLIP @8c5c17f) does, for each finetuning its own: :data:`RELEASED`,
:data:`RELEASED_ID`, :data:`RELEASED_PLM`. The two differ by these switches and by nothing else. Of the points on which
paper and code disagree, these have no switch, because nothing that is learned depends on them or because they are
chosen elsewhere:

* clean [CLS] and clean v in ICL, masked features replaced by the mask feature always: both agree;
* noise drawn by frequency: both agree; the counts are those of the rows given to pretrain on;
* the MLM head's shape (linear, tanh, dropout, linear, its own weights): the paper gives "a two-layer MLP" only;
* 15 % of 8 (15) fields is int(1.2) = 1 (int(2.25) = 2) field: the paper cannot mean a share of a field;
* the code encodes the clean text twice, for ICL and for MTM. One pass has the same expected gradient at two thirds
  of the cost, and the same gradient without dropout.

On GoodReads the code has ``embedding_l2: 0`` for FLIP, and ``mtm_pad_to: 180``; a suite says so for the data set.
Nobody's released code has CTRL: its flavour ``released`` is the authors' modules with FLIP_ID's finetuning.

Not followed:

* one start of the ID-based model for all seeds (its constructor seeds torch with 1024) and one pattern of masks on all
  processes: seeds are to differ;
* texts cut at 100 (180) tokens and, in finetuning, ``[val]`` markers split into three tokens each: no row is cut here;
* rows repeated so that every process has as many; batches of 512 and 128 and float16 for RoBERTa, where finetuning
  has no scalar bias at all (set ``pretrain.batch_size``; ``precision: bfloat16``);
* FLIP's finetuning in batches of 128 for each of an unknown number of GPUs: the paper's 256;
* FLIP_ID's loss is summed over a batch. Adam undoes the factor 1024 but in its epsilon, which :data:`RELEASED_ID`
  divides by it; an epoch's last, smaller batch weighs less there, as a mean it weighs like the others.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from flipbench.plan.settings import (
    DECAY,
    EMBEDDING_L2,
    L2_GRID,
    MAX_EPOCHS,
    PLM_RATE_GRID,
    RATE_GRID,
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
    mask_unit: Literal["field", "token", "token-equal"] = stated(Paper("field", "IV-C1; token in Table VII"))
    """What the text is masked by: whole field values, or single tokens in "w/o Field-level Masking". ``token``: a
    share of them, which is more than the values have. ``token-equal``: as many as the values of that share of fields
    would have had, drawn anew for every row."""
    text_mask_ratio: float = stated(Paper(0.15, "V-A4: r_text", Valid.RATIO))
    """Share of the fields whose value is masked in the text; of the tokens, where ``token`` is the unit."""
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
    """Whether padding is attended to (code). The amount of padding then matters."""
    mtm_pad_to: int = stated(
        Guess(
            0,
            "the batch's longest row; the code pads to 100 tokens, to 180 on GoodReads",
            Range(0, 1 << 15),
            only_with=("mtm_padding", True),
            unkeyed=0,
        )
    )
    """Tokens, padding included, that are attended to at least; 0: those of the batch's longest row."""
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
    "backbone_dropout": Guess(0.0, "as the backbone has it; another one while it is finetuned", Valid.SHARE),
    "backbone_batch_norm": Guess(False, "as the backbone has it; on in pretraining and finetuning"),
    "backbone_start": Guess("own", "as the backbone has it; see dcnv2_mix", ("own", "fuxictr", "released")),
    "plm": Paper(TINYBERT, "V-A4"),
    "flavour": Guess("paper", "the paper's equations, rather than the released code where they differ"),
    "learning_rate": Guess(1e-3, "of all but the PLM; V-A4 searches 1e-5 to 5e-3", Valid.LEARNING_RATE),
    "plm_learning_rate": Code(5e-5, "the paper does not split the two", Valid.LEARNING_RATE),
    "weight_decay": Paper(0.0, "V-A4: Adam; 1e-3 on every parameter with AdamW in code", Valid.PENALTY),
    "embedding_l2": EMBEDDING_L2,
    "alpha_start": Code(0.0, "alpha of Eq. 16; at 0 the prediction is the language model's"),
    "batch_size": Paper(256, "V-A4; 2048 for GoodReads", Valid.ROWS),
    "decay": DECAY,
    "max_epochs": MAX_EPOCHS,
    "patience": Code(3, "epochs without a better validation AUC; the paper does not say", Valid.EPOCHS),
    "precision": Guess("float32", "as in pretraining", Valid.PRECISION),
}

PLM_PARTS = ("plm_learning_rate", "alpha_start")
"""Settings that finetuning without the PLM has no use for."""

FLIP_SETTINGS: dict[str, Setting] = {
    **FINETUNE_SETTINGS,
    "fused_biases": Guess(
        False,
        "Eq. 16 has none; the code adds one to s_PLM, beside its head's own, and one to the mixed logit",
        unkeyed=False,
    ),
}
ID_SETTINGS: dict[str, Setting] = {
    **FINETUNE_SETTINGS,
    "adam_eps": Guess(1e-8, "Adam's usual one, for a mean loss", Range(0.0, 1.0), unkeyed=1e-8),
}
PLM_SETTINGS: dict[str, Setting] = {
    **{name: setting for name, setting in FINETUNE_SETTINGS.items() if name != "backbone_dropout"},
    "pooling": Paper("cls", "Eq. 19; avg: the mean over all tokens", ("cls", "avg"), unkeyed="cls"),
    "dropout": Code(0.0, "of the pooled state; a comment has .2 for RoBERTa-large", Valid.SHARE, unkeyed=0.0),
}

_RELEASED_PARTS: Mapping[str, Any] = {
    "backbone": "dcnv2_mix",
    "backbone_start": "released",
    "decay": "none",
    "max_epochs": 25,
    "pretrain": {
        "icl_head": "residual",
        "icl_weight": 1 / 8,
        "mtm_query": "norm",
        "mtm_scale": False,
        "mtm_padding": True,
        "mtm_pad_to": 100,
        "mtm_head": "linear",
        "mtm_loss": "nce",
        "mlm_average": "token",
        "learning_rate": 1e-4,
    },
}
"""In one process. In as many processes as the authors' eight, ``icl_weight: 1`` with ``icl_gather: no-gradient`` is
their very run; the two are the same gradient."""

RELEASED_PLM: Mapping[str, Any] = {**_RELEASED_PARTS, "learning_rate": 5e-5, "weight_decay": 1e-3}
"""finetune_nlp.py."""

RELEASED: Mapping[str, Any] = {**RELEASED_PLM, "embedding_l2": 2e-4, "fused_biases": True}
"""finetune_all.py; 1e-4 |E|^2 beside mean losses is lambda 2e-4."""

SUMMED = 1024
"""Rows over which FLIP_ID's released loss is summed: a batch."""

RELEASED_ID: Mapping[str, Any] = {
    **_RELEASED_PARTS,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "embedding_l2": 2 * 1e-3 / SUMMED,
    "batch_size": SUMMED,
    "max_epochs": 20,
    "adam_eps": 1e-8 / SUMMED,
}
"""finetune_ctr.py: a summed loss with 1e-3 |E|^2, in this code's terms."""

ID_GRID: dict[str, list[Any]] = {
    "learning_rate": RATE_GRID,
    "embedding_l2": L2_GRID,
    "weight_decay": [0.0, 1e-4, 1e-3, 1e-2],  # about the code's 1e-3; 0: the paper's Adam
    "backbone_dropout": [0.0, 0.2, 0.4],  # as the baselines'
    "backbone_batch_norm": [False, True],  # as the baselines'
}
GRID: dict[str, list[Any]] = {**ID_GRID, "plm_learning_rate": PLM_RATE_GRID}
PLM_GRID: dict[str, list[Any]] = {
    "plm_learning_rate": PLM_RATE_GRID,
    "weight_decay": ID_GRID["weight_decay"],
    "pooling": ["cls", "avg"],
    "dropout": [0.0, 0.1, 0.2],  # the code's comment has .2
}
FINETUNE_RULES = (AtLeast("batch_size", 2, "batch norm needs rows to compare", where="backbone_batch_norm"),)
