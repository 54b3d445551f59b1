"""Modality alignment pretraining: an ID-based model and a language model under three objectives (paper IV-C)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import pad

from flipbench.methods.flip.batch import Masks
from flipbench.methods.flip.objectives import InstanceContrast, MaskedLanguage, MaskedTable
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.id_model import IDModel
from flipbench.models.precision import full_precision
from flipbench.train.pretrain import PretrainModel

if TYPE_CHECKING:
    from flipbench.models.encoder import Encoder
    from flipbench.text.tokens import TokenBatch


class Pretraining(PretrainModel):
    """L = L_mlm + L_mtm + icl_weight * L_icl (Eq. 14).

    w = PLM(text), ŵ = PLM(masked text), v = ID(table), v̂ = ID(masked table) (Eq. 4); ICL reads the first token of w
    and v, MTM reads w and v̂, MLM reads ŵ and v. What no objective in use reads is not computed, and only heads in
    use exist.

    Args:
        id_model: any ID-based model, through its ``represent``.
        encoder: a PLM's.
        settings: which objectives, and how.
        counts: [M] int64, how often each feature occurs in the rows to pretrain on.
    """

    def __init__(self, id_model: IDModel, encoder: "Encoder", settings: PretrainSettings, counts: Tensor) -> None:
        super().__init__()
        self.id_model, self.encoder, self.settings = id_model, encoder, settings
        table_dim, text_dim = id_model.representation_dim, encoder.hidden_size
        self.icl = InstanceContrast(settings, table_dim, text_dim) if settings.icl else None
        self.mtm = MaskedTable(settings, table_dim, text_dim, id_model.fields, counts) if settings.mtm else None
        self.mlm = MaskedLanguage(settings, table_dim, text_dim, encoder.vocab_size) if settings.mlm else None

    def forward(self, ids: Tensor, text: "TokenBatch", masks: Masks) -> dict[str, Tensor]:
        """The losses in use, by name, each a float32 scalar.

        Args:
            ids: [B, F], clean.
            text: its tokens, clean.
            masks: what to hide, and the noise beside it.
        """
        joint, attention_mask = self.settings.joint_reconstruction, text.attention_mask
        losses: dict[str, Tensor] = {}
        v = w = None
        if self.icl or (self.mlm and joint):
            v = self.represent(ids)
        if self.mtm and joint:
            w = self._with_padding(text) if self.settings.mtm_padding else self.encoder.states(text)
        if self.mlm:
            assert masks.text is not None
            hidden = self.encoder.states(replace(text, tokens=masks.text.tokens), masks.text.positions)
            losses["mlm"] = self.mlm(hidden, v if joint else None, masks.text, text.tokens.shape)
        if self.mtm:
            assert masks.table is not None
            assert masks.candidates is not None
            v_masked = self.represent(masks.table.ids)
            losses["mtm"] = self.mtm(
                v_masked, w if joint else None, attention_mask, masks.table.fields, masks.candidates
            )
        if self.icl:
            assert v is not None
            losses["icl"] = self.icl(v, self.encoder.states(text, text.first) if w is None else w[:, 0])
        return losses

    def _with_padding(self, text: "TokenBatch") -> Tensor:
        """States [B, L', D_text] with those at padding, which the released code attends to.

        With ``mtm_pad_to`` there are as many as there, and id 0 stands at padding whatever the PLM's own id is.
        """
        tokens, real = text.tokens, text.attention_mask
        if self.settings.mtm_pad_to:
            more = (0, max(0, self.settings.mtm_pad_to - tokens.shape[1]))
            tokens, real = pad(tokens.masked_fill(~real, 0), more), pad(real, more)
        states: Tensor = self.encoder(tokens, real)
        return states

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The loss to minimise (Eq. 14)."""
        weights = {"mlm": 1.0, "mtm": 1.0, "icl": self.settings.icl_weight}
        terms = [weights[name] * loss for name, loss in losses.items()]
        return sum(terms[1:], start=terms[0])

    def represent(self, ids: Tensor) -> Tensor:
        """v [B, D_tab] in float32: an ID-based model costs next to nothing, so autocast has nothing to save."""
        with full_precision(ids):
            return self.id_model.represent(ids)
