"""Whether an architecture's states of a sentence are what methods take them for, tried on one sentence."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import pad

SENTENCE = "title is A Story of Two Cities (1977). genre is Drama. user id is 1193."

LENGTH = 72
"""Tokens with padding: more than the blocks of 64 that some architectures cut a sentence into."""

TOLERANCE = 1e-4
"""Share of the largest state that rounding may move: it moves 1e-6, padding that is read 1e-3 and more."""


def problem(encoder: nn.Module, sentence: Sequence[int], *, length: int, pad_id: int, other_id: int, width: int) -> str:
    """What is wrong with an encoder; empty where nothing is. Leaves it in training mode, and no random number drawn.

    It has a state for every token, the same at two padded lengths, in which tokens read each other; and it can train.

    Args:
        encoder: makes states [1, L, width] of tokens [1, L] and their mask.
        sentence: token ids, at least two. length: to pad it to. pad_id: with what.
        other_id: a token to put in the place of the second.
    """
    alone = torch.tensor([[*sentence]])
    padded = pad(alone, (0, length - len(sentence)), value=pad_id)
    changed = alone.clone()
    changed[0, 1] = other_id
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            encoder.eval()
            states, others = (encoder(tokens, torch.ones_like(tokens) > 0) for tokens in (alone, changed))
            behind = encoder(padded, torch.arange(length).unsqueeze(0) < len(sentence))
            encoder.train()
            encoder(alone, torch.ones_like(alone) > 0)
        except Exception as error:  # whatever an architecture raises that needs more than tokens
            return f"cannot read a sentence: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if states.shape != (*alone.shape, width):
        return f"has states of shape {list(states.shape)} where its config.json says {[*alone.shape, width]}"
    limit = TOLERANCE * float(states.abs().max())
    if not float((behind[:, : len(sentence)] - states).abs().max()) <= limit:
        return "mixes the padding behind a sentence into its states; take one that leaves it out, such as bert"
    if torch.equal(others[:, 0], states[:, 0]):
        return "does not let the tokens of a sentence read each other here"
    return ""
