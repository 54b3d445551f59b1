"""The three objectives of pretraining (paper IV-C3 to IV-C5): heads and losses, every loss in float32."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize

from flipbench.methods.flip.heads import (
    CrossAttention,
    FeatureOutput,
    FieldLinear,
    FieldMLPs,
    LinearProjection,
    ResidualProjection,
    TokenOutput,
)
from flipbench.methods.flip.settings import PretrainSettings
from flipbench.models.mlm_head import token_loss
from flipbench.models.precision import full_precision, widened
from flipbench.text.masking import TextMask
from flipbench.train.distributed import gather


def info_nce(z_table: Tensor, z_text: Tensor, temperature: float, parts: int = 1) -> Tensor:
    """Mean of the cross-entropies text to table and table to text, [B, d] each, matched by row (Eq. 11-13).

    Logits are float32 whatever autocast says: they reach 183, where bfloat16 knows whole numbers only.

    Args:
        parts: more than one: the similarity is :func:`best_parts` instead of the product.
    """
    with full_precision(z_table):
        z_table, z_text = widened(z_table), widened(z_text)
        logits = (z_table @ z_text.t() if parts == 1 else best_parts(z_table, z_text, parts)) / temperature
        matched = torch.arange(len(logits), device=logits.device)
        return (cross_entropy(logits, matched) + cross_entropy(logits.t(), matched)) / 2


def best_parts(z_table: Tensor, z_text: Tensor, parts: int) -> Tensor:
    """Similarities [B, C] of z_table [B, d] and z_text [C, d]: for each part of the one, its largest product with a
    part of the other, summed over the parts (CTRL; FLIP's code has a function of this form)."""
    table, text = (z.view(len(z), parts, -1) for z in (z_table, z_text))
    return torch.einsum("bpd,cqd->bpcq", table, text).amax(3).sum(1)


def candidate_loss(logits: Tensor) -> Tensor:
    """Mean over [B, n] of -ln σ(c_0) - Σ_k ln(1 - σ(c_k)); logits c [B, n, 1 + K], the true feature first (Eq. 10)."""
    truth = torch.zeros_like(logits)
    truth[..., 0] = 1.0
    return binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(-1).mean()


class InstanceContrast(nn.Module):
    """ICL: matched rows of table and text are drawn together, others of the batch apart (IV-C5)."""

    def __init__(self, settings: PretrainSettings, table_dim: int, text_dim: int) -> None:
        super().__init__()
        head = LinearProjection if settings.icl_head == "linear" else ResidualProjection
        self.table, self.text = head(table_dim, settings.icl_dim), head(text_dim, settings.icl_dim)
        self.settings = settings

    def project_table(self, v: Tensor) -> Tensor:
        """z [B, icl_dim] of representations v [B, D_tab]."""
        return self._similar(self.table(v))

    def project_text(self, cls: Tensor) -> Tensor:
        """z [B, icl_dim] of first-token states [B, D_text]."""
        return self._similar(self.text(cls))

    def forward(self, v: Tensor, cls: Tensor) -> Tensor:
        with_gradient = self.settings.icl_gather == "gradient"
        z_table = gather(self.project_table(v), with_gradient)
        z_text = gather(self.project_text(cls), with_gradient)
        parts = self.settings.icl_parts if self.settings.icl_similarity == "max" else 1
        return info_nce(z_table, z_text, self.settings.temperature, parts)

    def _similar(self, z: Tensor) -> Tensor:
        return normalize(widened(z), dim=1) if self.settings.icl_similarity == "unit" else widened(z)


class MaskedTable(nn.Module):
    """MTM: which features stood in the masked fields, discriminated from noise with the text's help (IV-C4).

    Args:
        fields: F. counts: [M] int64.
    """

    def __init__(self, settings: PretrainSettings, table_dim: int, text_dim: int, fields: int, counts: Tensor) -> None:
        super().__init__()
        self.settings = settings
        if settings.joint_reconstruction:
            self.attention = CrossAttention(table_dim, text_dim, settings.mtm_query == "norm", settings.mtm_scale)
        self.predictor: nn.Module
        if settings.mtm_head == "mlp":
            inputs = text_dim if settings.joint_reconstruction else table_dim
            self.predictor = FieldMLPs(inputs, fields, settings.mtm_hidden, settings.mtm_dim)
        else:
            inputs = table_dim + (text_dim if settings.joint_reconstruction else 0)
            self.predictor = FieldLinear(inputs, fields, settings.mtm_dim)
        self.output = FeatureOutput(counts, settings.mtm_dim, settings.noise, settings.mtm_loss == "nce")

    def forward(
        self, v: Tensor, w: Tensor | None, attention_mask: Tensor, fields: Tensor, candidates: Tensor
    ) -> Tensor:
        """The loss.

        Args:
            v: [B, D_tab] of the masked table.
            w: [B, L, D_text] of the clean text; None without joint reconstruction.
            attention_mask: [B, L], 0 on padding.
            fields: [B, n] int64, the masked fields.
            candidates: [B, n, 1 + K] int64, the true feature, then noise.
        """
        x = v
        if w is not None:
            attended = None if self.settings.mtm_padding else attention_mask.bool()
            u = self.attention(v, w, attended)
            x = u if self.settings.mtm_head == "mlp" else torch.cat([v, u], dim=1)
        h = self.predictor(x)
        h = h.gather(1, fields.unsqueeze(2).expand(-1, -1, h.shape[2]))
        return candidate_loss(self.output(h, candidates))


class MaskedLanguage(nn.Module):
    """MLM: which tokens stood at the masked positions, with the table's help (IV-C3).

    Only masked positions reach the head: it works position by position, so the others would add nothing to the
    loss or to any gradient.
    """

    def __init__(self, settings: PretrainSettings, table_dim: int, text_dim: int, vocabulary: int) -> None:
        super().__init__()
        self.settings = settings
        inputs = text_dim + (table_dim if settings.joint_reconstruction else 0)
        self.output = TokenOutput(inputs, text_dim, vocabulary)

    def forward(self, w: Tensor, v: Tensor | None, mask: TextMask, shape: torch.Size) -> Tensor:
        """The loss.

        Args:
            w: [m, D_text], states of the masked text at ``mask.positions``.
            v: [B, D_tab] of the clean table; None without joint reconstruction.
            shape: (B, L).
        """
        batch, length = shape
        x, rows = w, mask.positions // length
        if v is not None:
            x = torch.cat([x, v.to(x.dtype).index_select(0, rows)], dim=1)
        return token_loss(self.output(x), mask.targets, rows, batch, self.settings.mlm_average == "sample")
