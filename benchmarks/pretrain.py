"""A pretraining step here and as the authors' released code does it, on the same rows in one run.

The reference tokenises and masks every row in Python, pads to 100 tokens, runs the encoder three times (masked, clean
for ICL, clean again for MTM), puts the MLM head on every position and reads three losses back to the host; float32,
as the released code pretrains TinyBERT. Both sides have TinyBERT's shape (4 layers, 312 wide, 12 heads, 30,522 tokens),
its dropout, DCNv2 and the same heads.

    python benchmarks/pretrain.py --dataset movielens-1m --tokenizer DIR
"""

import argparse
import json
import os
import platform
from dataclasses import dataclass
from typing import Any

import torch
from sides import Round, alternate
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from flipbench.protocol import Precision

PADDED = 100
"""Tokens of a row in the released code, on MovieLens-1M."""
SHAPE = {"num_hidden_layers": 4, "hidden_size": 312, "num_attention_heads": 12, "intermediate_size": 1200}
VOCABULARY = 30_522


@dataclass(frozen=True)
class Case:
    """What both sides do: a batch of rows a step, some steps a round."""

    dataset: str
    tokenizer: str
    batch_size: int
    steps: int
    threads: int
    precision: Precision
    reference_precision: Precision
    device: str


def parts(case: Case) -> tuple[Any, Any, Any, nn.Module, nn.Module]:
    """Table, rows' ids [steps * B, F], tokenizer, ID-based model, encoder: the same on both sides."""
    from transformers import BertConfig, BertModel

    from flipbench.data.store import open_table
    from flipbench.models.encoder import Encoder, load_tokenizer
    from flipbench.plan import registry
    from flipbench.plan.settings import TRAINING
    from flipbench.train.rng import make_deterministic

    make_deterministic(case.threads)
    torch.manual_seed(0)
    table = open_table(case.dataset)
    ids = table.ids[torch.randperm(len(table))[: case.steps * case.batch_size].numpy()]
    declared = registry.get("dcnv2")
    settings = {key: setting.value for key, setting in declared.settings.items() if key not in TRAINING}
    id_model = declared.load()(table.num_features, len(table.fields), **settings)
    config = BertConfig(vocab_size=VOCABULARY, **SHAPE)
    encoder = Encoder(BertModel(config, add_pooling_layer=False), "TinyBERT's shape")
    return table, ids, load_tokenizer(case.tokenizer, table), id_model, encoder


def ours(case: Case) -> Round:
    """The pretraining loop."""
    from flipbench.methods.flip.batch import draw_batch
    from flipbench.methods.flip.model import Pretraining
    from flipbench.methods.flip.noise import Noise, feature_counts
    from flipbench.methods.flip.settings import PretrainSettings
    from flipbench.text.tokens import TokenStore
    from flipbench.train.config import TrainConfig
    from flipbench.train.pretrain import pretrain
    from flipbench.train.rng import Streams

    table, ids, tokenizer, id_model, encoder = parts(case)
    settings, streams = PretrainSettings(), Streams(0)
    config = TrainConfig(5e-5, case.batch_size, max_epochs=1, weight_decay=1e-3, precision=case.precision)
    counts = feature_counts(torch.from_numpy(ids), table.num_features)
    model = Pretraining(id_model, encoder, settings, counts)
    store = TokenStore.build(table, tokenizer)
    noise = Noise(counts)

    def make_batch(rows: Tensor, epoch: int, step: int, share: slice) -> Any:
        return draw_batch(rows, store, noise, settings, streams, epoch, step, share)

    return lambda: pretrain(model, ids, make_batch, config, streams, device=case.device)


class Reference:
    """A step as the released code does it."""

    def __init__(self, case: Case) -> None:
        from flipbench.methods.flip.noise import Noise, feature_counts
        from flipbench.methods.flip.objectives import InstanceContrast, MaskedTable
        from flipbench.methods.flip.settings import RELEASED, PretrainSettings, declared
        from flipbench.text.prompt import sentences

        self.case = case
        table, self.ids, self.tokenizer, self.id_model, self.encoder = parts(case)
        released = {n: v for n, v in RELEASED["pretrain"].items() if n in declared(PretrainSettings)}
        settings = PretrainSettings(**released)
        counts = feature_counts(torch.from_numpy(self.ids), table.num_features)
        v, w, fields = self.id_model.representation_dim, SHAPE["hidden_size"], len(table.fields)
        self.noise, self.settings = Noise(counts), settings
        self.icl, self.mtm = InstanceContrast(settings, v, w), MaskedTable(settings, v, w, fields, counts)
        head = (nn.Linear(w + v, w), nn.Tanh(), nn.Dropout(0.2), nn.Linear(w, VOCABULARY))
        self.mlm = nn.Sequential(*head)
        self.model = nn.ModuleList([self.id_model, self.encoder, self.icl, self.mtm, self.mlm]).to(case.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=1e-3)
        self.texts = sentences(table, self.ids)
        self.words = [field.words for field in table.fields]

    def item(self, row: int) -> tuple[list[int], list[int]]:
        """Tokens and masked tokens of a row, padded."""
        encoding = self.tokenizer.pieces([self.texts[row]])[0]
        tokens = [self.tokenizer.cls_id, *encoding.ids[: PADDED - 2], self.tokenizer.sep_id]
        masked, starts = list(tokens), [self.texts[row].find(f"{word} is ") for word in self.words]
        chosen = torch.randperm(len(self.words))[: max(1, int(0.15 * len(self.words)))].tolist()
        for field in chosen:
            begin = starts[field] + len(self.words[field]) + 4
            end = starts[field + 1] - 2 if field + 1 < len(starts) else len(self.texts[row]) - 1
            for place, (first, last) in enumerate(encoding.offsets, start=1):
                if first < end and last > begin and place < PADDED - 1:
                    masked[place] = self.tokenizer.mask_id
        padding = [self.tokenizer.pad_id] * (PADDED - len(tokens))
        return tokens + padding, masked + padding

    def step(self, rows: range) -> list[float]:
        """One step; the three losses."""
        from flipbench.methods.flip.masking import draw_fields, mask_table

        device, settings = self.case.device, self.settings
        pairs = [self.item(row) for row in rows]
        tokens = torch.tensor([tokens for tokens, _ in pairs], device=device)
        masked = torch.tensor([masked for _, masked in pairs], device=device)
        ids = torch.from_numpy(self.ids[rows.start : rows.stop]).long().to(device)
        generator = torch.Generator().manual_seed(rows.start)
        hidden = mask_table(ids, draw_fields(len(ids), ids.shape[1], 0.15, generator).to(device))
        drawn = self.noise.draw(len(ids), hidden.fields.shape[1], settings.noise, generator).to(device)
        candidates = torch.cat([hidden.targets.unsqueeze(2), drawn], dim=2)
        attended = tokens != self.tokenizer.pad_id
        with torch.autocast(device, torch.bfloat16, enabled=self.case.reference_precision == "bfloat16"):
            v, v_masked = self.id_model.represent(ids), self.id_model.represent(hidden.ids)
            icl = self.icl(v, self.encoder(tokens, attended)[:, 0])
            mtm = self.mtm(v_masked, self.encoder(tokens, attended), attended, hidden.fields, candidates)
            w = self.encoder(masked, attended)
            logits: Tensor = self.mlm(torch.cat([w, v.unsqueeze(1).expand(-1, PADDED, -1)], dim=2))
        targets = torch.where(masked != tokens, tokens, -100)
        mlm = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        self.optimizer.zero_grad()
        (icl + mtm + mlm).backward()
        self.optimizer.step()
        return [mlm.item(), mtm.item(), icl.item()]


def theirs(case: Case) -> Round:
    """The reference's steps."""
    reference = Reference(case)
    batches = [range(s * case.batch_size, (s + 1) * case.batch_size) for s in range(case.steps)]
    return lambda: [reference.step(rows) for rows in batches]


def counted(case: Case) -> dict[str, float]:
    """Floating-point operations of our matrix products and tokens, both a step, and the products' measured peak."""
    from flipbench.text.tokens import TokenStore

    run = ours(case)
    with FlopCounterMode(display=False) as counter:
        run()
    table, ids, tokenizer, *_ = parts(case)
    tokens = int(TokenStore.build(table, tokenizer).lengths(torch.from_numpy(ids)).sum())
    return {"flops": counter.get_total_flops() / case.steps, "tokens": tokens / case.steps, "peak": peak(case)}


def peak(case: Case) -> float:
    """Floating-point operations a second of a large matrix product in our precision, the best of some."""
    size = 2048 if case.device == "cpu" else 8192
    matrix = torch.randn(size, size, device=case.device, dtype=getattr(torch, case.precision))
    [side] = alternate([product], (matrix.cpu(), case.device, case.threads), 5)
    return float(2 * size**3 / min(side.seconds))


def product(matrix: Tensor, device: str, threads: int) -> Round:
    """A matrix times itself, to its end."""
    torch.set_num_threads(threads)
    moved = matrix.to(device)
    return lambda: (moved @ moved)[0, 0].item()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="A pretraining step beside one as the released code does it.")
    parser.add_argument("--dataset", default="movielens-1m")
    parser.add_argument("--tokenizer", default="small", help="a PLM whose tokenizer to use, as in a suite")
    parser.add_argument("--batch-size", type=int, default=128, help="rows a step: one of the released code's GPUs")
    parser.add_argument("--steps", type=int, default=1, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="ours")
    parser.add_argument("--reference-precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", action="store_true", help="one JSON object to stdout")
    args = vars(parser.parse_args())
    as_json, rounds = args.pop("json"), args.pop("rounds")
    if min(args["batch_size"], args["steps"], args["threads"], rounds) < 1:
        parser.error("--batch-size, --steps, --threads and --rounds are whole numbers above 0")
    case = Case(**args)
    mine, reference = alternate([ours, theirs], (case,), rounds)
    figures = counted(case)
    seconds = mine.median / case.steps
    found = {
        "step_seconds": seconds,
        "reference_step_seconds": reference.median / case.steps,
        "ratio": reference.median / mine.median,
        "tokens_per_second": figures["tokens"] / seconds,
        "share_of_peak": figures["flops"] / seconds / figures["peak"],
        "memory_ratio": mine.memory / reference.memory,
        "memory_bytes": mine.memory,
        "reference_memory_bytes": reference.memory,
    }
    machine = {"cpu": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__, **vars(case)}
    if as_json:
        print(json.dumps({"machine": machine, "results": found}))
        return
    print(tabulate(found.items(), floatfmt=".4g"))
    print(", ".join(f"{key} {value}" for key, value in machine.items()))


if __name__ == "__main__":
    main()
