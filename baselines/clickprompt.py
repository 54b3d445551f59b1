"""ClickPrompt: an ID-based model makes a PLM's soft prompts (Lin et al., WWW 2024, arXiv 2310.09234).

The ID-based model's representation c becomes K vectors that the PLM reads before the row's text. Both are pretrained
on telling hidden tokens (PA-MLM), then finetuned together, or the ID-based model alone. ClickPrompt splits 8:1:1 in
time and selects on the middle part: that is ``held-out`` here, but for the refit on both before the test.
"""

from dataclasses import replace

from torch import Tensor

from flipbench.methods.base import PLMMethod, PretrainingMethod
from flipbench.methods.context import Parts
from flipbench.methods.flip.batch import masked_tokens
from flipbench.methods.flip.ctr import FLIPID
from flipbench.methods.flip.masking import TextMask
from flipbench.methods.flip.objectives import token_loss
from flipbench.models.click_model import ClickModel
from flipbench.models.encoder import Encoder
from flipbench.models.id_model import IDModel
from flipbench.models.mlm_head import TokenHead, token_head
from flipbench.models.precision import full_precision
from flipbench.models.prompted import Fusion, PromptedClicks
from flipbench.models.soft_prompt import Form, Pooling, SoftPrompts
from flipbench.plan.settings import TINYBERT, Code, Guess
from flipbench.text.tokens import TokenBatch, check_length
from flipbench.train.pretrain import Draw, PretrainModel


class PAMLM(PretrainingMethod):
    """Prompt-augmented masked language modelling (Lin et al., WWW 2024)."""

    version = 1
    settings = {
        "form": Code("prefix", "finetuning launcher; the other is 'prompt'", ("prefix", "prompt")),
        "prompts": Code(10, "K"),
        "mask_ratio": Code(0.15, "of the tokens; 80 % masked, 10 % random, 10 % as they were"),
        "epochs": Code(20, "10, 20 and 30 tried"),
        "batch_size": Code(1024, "pretraining launcher"),
        "learning_rate": Code(5e-5, "pretraining launcher: AdamW; the ID-based model's own rate is not known"),
        "weight_decay": Code(0.0, "pretraining launcher"),
        "decay": Code("cosine", "cosine and linear tried"),
        "warmup": Code(0.05, "0.05 and 0.1 tried"),
        "precision": Guess("float32", "as the other methods; the code has float16"),
    }

    grid = {}

    @staticmethod
    def model(parts: Parts, ids: Tensor, *, form: Form, prompts: int, mask_ratio: float) -> PretrainModel:
        id_model, encoder = parts.id_model(), parts.encoder()
        check_length(parts.tokens, ids, encoder.max_positions - prompts)
        soft = SoftPrompts(encoder, id_model.representation_dim, prompts, form)
        return PromptedMLM(id_model, encoder, soft, token_head(parts.plm, encoder))

    @staticmethod
    def draw(parts: Parts, *, form: Form, prompts: int, mask_ratio: float) -> Draw:
        return masked_tokens(parts.tokens, mask_ratio, parts.streams)


class ClickPrompt(PLMMethod):
    """An ID-based model's soft prompts for a PLM, both finetuned after PA-MLM (Lin et al., WWW 2024)."""

    version = 1
    pretraining = "pa_mlm"
    settings = {
        "backbone": Code("dcnv2", "its DCNv2 is the full-rank, parallel one; 6 cross layers and 6 x 256 there"),
        "plm": Guess(TINYBERT, "the FLIP paper's, for comparison; ClickPrompt's is RoBERTa-base"),
        "pooling": Code(
            "cls", "cls, avg, avg_first_last, avg_top2 tried", ("cls", "avg", "avg_first_last", "avg_top2")
        ),
        "fusion": Guess("weighted", "the code has all three: see PromptedClicks", ("weighted", "add", "plm")),
        "alpha_start": Code(0.5, "alpha weighs the PLM: the other way round than in FLIP"),
        "learning_rate": Guess(1e-3, "of the ID-based model and the new layers; the launcher takes it as an argument"),
        "plm_learning_rate": Guess(5e-5, "as in its pretraining; the launcher takes it as an argument"),
        "weight_decay": Code(0.0, "0, 0.1 and 0.5 tried"),
        "embedding_l2": Guess(1e-4, "as for the baselines"),
        "decay": Code("cosine", "cosine and linear tried"),
        "warmup": Guess(0.0, "the launcher takes it as an argument"),
        "batch_size": Guess(256, "as for the baselines; the launcher takes it as an argument"),
        "max_epochs": Code(4, "on MovieLens-1M; 2 and 3 elsewhere"),
        "patience": Code(2, "finetuning launcher"),
        "precision": Guess("float32", "as the other methods; the code has float16"),
    }
    grid = {
        "pooling": ["cls", "avg", "avg_first_last", "avg_top2"],  # code
        "decay": ["cosine", "linear"],  # code
        "weight_decay": [0.0, 0.1, 0.5],  # code
        "learning_rate": [1e-4, 5e-4, 1e-3],  # the baselines' range
        "embedding_l2": [0.0, 1e-6, 1e-5, 1e-4, 1e-3],  # the baselines' range
    }

    @staticmethod
    def model(parts: Parts, *, pooling: Pooling, fusion: Fusion, alpha_start: float) -> ClickModel:
        id_model, encoder, before = parts.id_model(), parts.encoder(), parts.pretraining
        prompts = SoftPrompts(encoder, id_model.representation_dim, before["prompts"], before["form"])
        if found := parts.pretrained("prompts."):
            prompts.load_state_dict(found)
        return PromptedClicks(id_model, encoder, prompts, pooling, fusion, alpha_start)


class ClickPromptID(PLMMethod):
    """The ID-based model alone after PA-MLM: no PLM in finetuning or scoring (Lin et al., WWW 2024)."""

    version = 1
    pretraining = "pa_mlm"
    settings = {
        "backbone": Code("dcnv2", "its DCNv2 is the full-rank, parallel one; 6 cross layers and 6 x 256 there"),
        "plm": Guess(TINYBERT, "the FLIP paper's, for comparison; ClickPrompt's is RoBERTa-base"),
        "learning_rate": Code(1e-3, "ID-based launcher"),
        "weight_decay": Code(0.0, "ID-based launcher"),
        "embedding_l2": Guess(1e-4, "as for the baselines"),
        "batch_size": Guess(256, "as for the baselines; the launcher takes it as an argument"),
        "max_epochs": Code(10, "10 and 20 tried"),
        "patience": Code(3, "ID-based launcher"),
        "precision": Guess("float32", "as the other methods; the code has float16"),
    }
    grid = {"learning_rate": [1e-4, 5e-4, 1e-3], "embedding_l2": [0.0, 1e-6, 1e-5, 1e-4, 1e-3]}  # the baselines' range

    @staticmethod
    def model(parts: Parts) -> ClickModel:
        return FLIPID(parts.id_model())

    @staticmethod
    def reader(parts: Parts) -> None:
        return None


class PromptedMLM(PretrainModel):
    """The hidden tokens are told from the others and from the soft prompts; no labels, no other objective."""

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
