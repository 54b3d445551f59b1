"""An encoder small enough to test with."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from flipbench.text.tokens import TokenBatch


class TinyEncoder(nn.Module):
    """One attention layer of two heads and a feed-forward layer, on token and position embeddings."""

    def __init__(self, vocab_size: int, hidden_size: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.vocab_size, self.hidden_size, self.max_positions = vocab_size, hidden_size, 256
        self.tokens = nn.Embedding(vocab_size, hidden_size)
        self.positions = nn.Embedding(self.max_positions, hidden_size)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.feed = nn.Sequential(nn.Linear(hidden_size, 32), nn.GELU(), nn.Linear(32, hidden_size))
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.calls = 0

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        self.calls += 1
        x = self.dropout(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]])
        q, k, v = self.qkv(x).unflatten(2, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(q, k, v, attn_mask=attention_mask.bool()[:, None, None])
        x = x + seen.transpose(1, 2).flatten(2)
        return self.norm(x + self.dropout(self.feed(x)))

    def states(self, text: TokenBatch, at: Tensor | None = None) -> Tensor:
        padded: Tensor = self(text.tokens, text.attention_mask)
        return padded if at is None else padded.flatten(0, 1)[at]
