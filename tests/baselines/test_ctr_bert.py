"""CTR-BERT: what each tower reads, and scoring by distinct users and items."""

import numpy as np
import pytest
import torch
from tiny_plm import PLM, needs_plm

from baselines.ctr_bert import TwoTowers, score_distinct
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.models.encoder import load, load_tokenizer
from flipbench.text.prompt import sentence
from flipbench.text.sides import Sides
from flipbench.text.tokens import TokenStore
from flipbench.train.finetune import predict

ROWS = 700


def towers(spec, table, seed=0, pooling="cls"):
    torch.manual_seed(seed)
    return TwoTowers(load(spec, table=table, seed=seed), load(spec, table=table, seed=seed), 16, 0.2, pooling)


@pytest.fixture(scope="module")
def sides(table):
    return Sides.of(TokenStore.build(table, load_tokenizer("small", table)), table)


@pytest.fixture(scope="module", params=["cls", "avg"])
def model(request, table):
    return towers("small", table, pooling=request.param)


def rows_of(table, n=None):
    ids = np.asarray(table.ids[:n])
    return Rows(ids, table.labels[:n], ids[:, 0])


def test_towers_read_their_own_fields(table, sides):
    ids = torch.from_numpy(table.ids[:40])
    values = [*(str(100 + u) for u in range(12)), "gloomy", "cheerful", *(str(500 + i) for i in range(10))]
    values += ["drama", "comedy"]
    for columns, side in zip(sides.columns, sides.batch(ids, training=True), strict=True):
        fields = [table.fields[f] for f in columns]
        texts = [sentence(fields, [values[i - 1] for i in row]) for row in ids[:, columns].tolist()]
        lengths = side.text.lengths.tolist()
        assert lengths == sorted(lengths)
        for place, whole in zip(side.place.tolist(), sides.store.tokenizer.sentences(texts), strict=True):
            assert side.text.tokens[place, : lengths[place]].tolist() == whole
    assert [[table.fields[f].side for f in columns] for columns in sides.columns] == [["user"] * 2, ["item"] * 2]


def test_towers_start_alike(table, sides, model):
    user, item = (dict(tower.named_parameters()) for tower in model.towers)
    assert all(torch.equal(user[name], item[name]) and user[name] is not item[name] for name in user)
    ids = torch.from_numpy(table.ids[:30]).long()
    other = ids.clone()
    other[:, 2:] = ids.flip(0)[:, 2:]
    (user, item), (same_user, other_item) = (
        [model.eval().encode(tower, side) for tower, side in enumerate(sides.batch(each, False))]
        for each in (ids, other)
    )
    torch.testing.assert_close(user, same_user, rtol=0, atol=1e-6)
    assert (item - other_item).abs().max() > 1e-2
    model.train().loss(ids, sides.batch(ids, True), torch.ones(30)).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("n", [1, 2, 699, 700])
def test_scoring_each_text_once_is_scoring_row_by_row(table, sides, model, n):
    rows = rows_of(table, n)
    distinct = score_distinct(model, rows, sides, "float32", "cpu")
    np.testing.assert_allclose(distinct, predict(model, rows, sides), rtol=0, atol=1e-6)
    single = torch.from_numpy(rows.ids[: min(n, 40)]).long().split(1)
    with torch.inference_mode():
        one = [model(ids, sides.batch(ids, training=False)).item() for ids in single]
    np.testing.assert_allclose(distinct[: len(one)], one, rtol=0, atol=1e-6)


def test_no_text_is_encoded_twice(table, sides, model, monkeypatch):
    read = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda tower, side: (read.append(len(side.place)), encode(tower, side))[1])
    score_distinct(model, rows_of(table), sides, "float32", "cpu")
    assert read == [12, 10]


@needs_plm
def test_minilm_scores_each_text_once_as_row_by_row():
    spec, table = str(PLM / "all-MiniLM-L6-v2"), open_table("planted-tiny")
    sides, rows = Sides.of(TokenStore.build(table, load_tokenizer(spec)), table), rows_of(table, 64)
    model = towers(spec, table)
    np.testing.assert_allclose(
        score_distinct(model, rows, sides, "float32", "cpu"), predict(model, rows, sides), rtol=0, atol=1e-6
    )
