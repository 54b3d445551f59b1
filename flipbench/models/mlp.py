"""Linear layers and the deep part that most models share."""

from collections.abc import Sequence

from torch import nn


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer, weights xavier-normal and bias zero (FuxiCTR's start; the paper does not give its own)."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_normal_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class MLP(nn.Sequential):
    """Per hidden layer: linear, batch norm if asked for, ReLU, dropout.

    Args:
        inputs: size of the input [B, inputs].
        hidden: one or more layer widths; the output is [B, hidden[-1]].
        dropout: probability of zeroing a unit, in [0, 1).
        batch_norm: whether a batch norm stands before every ReLU.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], dropout: float, batch_norm: bool) -> None:
        layers: list[nn.Module] = []
        for before, width in zip([inputs, *hidden], hidden, strict=False):
            layers.append(linear(before, width))
            if batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)
