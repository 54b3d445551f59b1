"""ClickPrompt: an ID-based model makes a PLM's soft prompts (Lin et al., WWW 2024, arXiv 2310.09234).

The ID-based model's representation c becomes K vectors that the PLM reads before the row's text. Both are pretrained
on predicting hidden tokens (PA-MLM), then finetuned together, or the ID-based model alone. ClickPrompt splits 8:1:1 in
time and selects on the middle part: that is ``held-out`` with ``validation: last-ninth`` here.
"""

from dataclasses import replace

from torch import Tensor, nn

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.context import MethodContext
from flipbench.models.click_model import ClickModel, IDClickModel
from flipbench.models.encoder import Encoder
from flipbench.models.id_model import IDModel
from flipbench.models.mlm_head import TokenHead, token_head, token_loss
from flipbench.models.precision import full_precision
from flipbench.models.prompted import Fusion, PromptedClicks
from flipbench.models.soft_prompt import Form, Pooling, SoftPrompts
from flipbench.plan.settings import (
    DECAY,
    EMBEDDING_L2,
    MAX_EPOCHS,
    PLM_RATE_GRID,
    TINYBERT,
    TRAINING_GRID,
    Code,
    Guess,
    Range,
    TakesPrefix,
    Valid,
)
from flipbench.text.masking import TextMask, masked_token_batches
from flipbench.text.tokens import TokenBatch, check_length
from flipbench.train.pretrain import MakeBatch, PretrainModel


class PAMLM(PretrainingMethod):
    """Prompt-augmented masked language modelling (Lin et al., WWW 2024)."""

    version = 1
    settings = {
        "form": Code("prefix", "finetuning launcher; the other is 'prompt'", ("prefix", "prompt")),
        "prompts": Code(10, "K", Range(1, 1 << 12)),
        "mask_ratio": Code(0.15, "of the tokens; 80 % masked, 10 % random, 10 % as they were", Valid.RATIO),
        "epochs": Code(20, "10, 20 and 30 tried", Valid.EPOCHS),
        "batch_size": Code(1024, "pretraining launcher", Valid.ROWS),
        "learning_rate": Code(5e-5, "pretraining launcher: AdamW's of the PLM and its head", Valid.LEARNING_RATE),
        "id_learning_rate": Code(
            1e-3,
            "ctr_learning_rate, which the launcher leaves at its default: of the ID-based model and the prompts' "
            "layers; 0: the same as the rest",
            Range(0.0, 10.0),
            unkeyed=0.0,
        ),
        "weight_decay": Code(0.0, "pretraining launcher", Valid.PENALTY),
        "decay": Code("cosine", "cosine and linear tried", ("epoch-cosine", "linear", "cosine")),
        "warmup": Code(0.05, "0.05 and 0.1 tried", Valid.SHARE),
        "precision": Guess("float32", "as the other methods; the code has float16", Valid.PRECISION),
    }

    @staticmethod
    def model(context: MethodContext, ids: Tensor, *, form: Form, prompts: int, mask_ratio: float) -> PretrainModel:
        id_model, encoder = context.id_model(), context.encoder()
        check_length(context.tokens, ids, encoder.max_positions - prompts)
        soft = SoftPrompts(encoder, id_model.representation_dim, prompts, form)
        return PromptedMLM(id_model, encoder, soft, token_head(context.plm, encoder))

    @staticmethod
    def make_batch(context: MethodContext, ids: Tensor, *, form: Form, prompts: int, mask_ratio: float) -> MakeBatch:
        return masked_token_batches(context.tokens, mask_ratio, context.streams)


class ClickPrompt(PLMMethod):
    """An ID-based model's soft prompts for a PLM, both finetuned after PA-MLM (Lin et al., WWW 2024)."""

    version = 1
    pretraining = "pa_mlm"
    rules = [TakesPrefix("pretrain.form")]
    settings = {
        "backbone": Code("dcnv2", "its DCNv2 is the full-rank, parallel one; 6 cross layers and 6 x 256 there"),
        "plm": Guess(TINYBERT, "the FLIP paper's, for comparison; ClickPrompt's is RoBERTa-base"),
        "pooling": Code(
            "cls", "cls, avg, avg_first_last, avg_top2 tried", ("cls", "avg", "avg_first_last", "avg_top2")
        ),
        "fusion": Code(
            "add", "launcher prefix_add; weighted_add, off by default, is 'weighted'", ("weighted", "add", "plm")
        ),
        "alpha_start": Code(0.5, "where fusion is weighted: alpha weighs the PLM, the other way round than in FLIP"),
        "learning_rate": Code(
            1e-3, "finetuning launcher's default, there of all parts; here of all but the PLM", Valid.LEARNING_RATE
        ),
        "plm_learning_rate": Guess(
            5e-5, "as in its pretraining; the launcher has one rate for all parts, as an argument", Valid.LEARNING_RATE
        ),
        "weight_decay": Code(0.0, "0, 0.1 and 0.5 tried", Valid.PENALTY),
        "embedding_l2": EMBEDDING_L2,
        "decay": Code("cosine", "cosine and linear tried", ("none", "linear", "cosine")),
        "warmup": Guess(0.0, "the launcher takes it as an argument", Valid.SHARE),
        "batch_size": Guess(256, "as for the baselines; the launcher takes it as an argument", Valid.ROWS),
        "max_epochs": Code(4, "on MovieLens-1M; 2 and 3 elsewhere", Valid.EPOCHS),
        "patience": Code(2, "finetuning launcher", Valid.EPOCHS),
        "precision": Guess("float32", "as the other methods; the code has float16", Valid.PRECISION),
    }
    grid = {
        "pooling": ["cls", "avg", "avg_first_last", "avg_top2"],  # code
        "decay": ["cosine", "linear"],  # code
        "weight_decay": [0.0, 0.1, 0.5],  # code
        "fusion": ["add", "weighted", "plm"],  # code
        **TRAINING_GRID,
        "plm_learning_rate": PLM_RATE_GRID,
    }

    @staticmethod
    def model(context: MethodContext, *, pooling: Pooling, fusion: Fusion, alpha_start: float) -> ClickModel:
        id_model, encoder, before = context.id_model(), context.encoder(), context.pretraining
        prompts = SoftPrompts(encoder, id_model.representation_dim, before["prompts"], before["form"])
        if pretrained := context.pretrained("prompts."):
            prompts.load_state_dict(pretrained)
        return PromptedClicks(id_model, encoder, prompts, pooling, fusion, alpha_start)


class ClickPromptID(PLMMethod):
    """The ID-based model alone after PA-MLM: no PLM in finetuning or scoring (Lin et al., WWW 2024)."""

    version = 1
    pretraining = "pa_mlm"
    rules = [TakesPrefix("pretrain.form")]
    settings = {
        "backbone": Code("dcnv2", "its DCNv2 is the full-rank, parallel one; 6 cross layers and 6 x 256 there"),
        "plm": Guess(TINYBERT, "the FLIP paper's, for comparison; ClickPrompt's is RoBERTa-base"),
        "learning_rate": Code(1e-3, "ID-based launcher", Valid.LEARNING_RATE),
        "weight_decay": Code(0.0, "ID-based launcher", Valid.PENALTY),
        "embedding_l2": EMBEDDING_L2,
        "batch_size": Guess(256, "as for the baselines; the launcher takes it as an argument", Valid.ROWS),
        "decay": DECAY,
        "max_epochs": MAX_EPOCHS,
        "patience": Code(3, "ID-based launcher", Valid.EPOCHS),
        "precision": Guess("float32", "as the other methods; the code has float16", Valid.PRECISION),
    }
    grid = {**TRAINING_GRID}

    @staticmethod
    def model(context: MethodContext) -> ClickModel:
        return IDClickModel(context.id_model())

    @staticmethod
    def collator(context: MethodContext) -> None:
        return None


class PromptedMLM(PretrainModel):
    """Predicts the hidden tokens from the others and from the soft prompts; no labels, no other objective."""

    def __init__(self, id_model: IDModel, encoder: Encoder, prompts: SoftPrompts, head: TokenHead) -> None:
        super().__init__()
        self.id_model, self.encoder, self.prompts, self.head = id_model, encoder, prompts, head

    def forward(self, ids: Tensor, text: TokenBatch, mask: TextMask) -> dict[str, Tensor]:
        with full_precision(ids):
            c = self.id_model.represent(ids)
        states = self.prompts.states(self.encoder, replace(text, tokens=mask.tokens), c)[-1]
        hidden = states.flatten(0, 1).index_select(0, mask.positions)
        logits = self.head(hidden, self.encoder.token_embedding.weight)
        rows = mask.positions // text.tokens.shape[1]
        return {"mlm": token_loss(logits, mask.targets, rows, len(ids), per_sample=False)}

    def id_parameters(self) -> list[nn.Parameter]:
        return [*self.id_model.parameters(), *self.prompts.parameters()]
