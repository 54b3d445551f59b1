"""Logistic regression under RecBole's fields and split of MovieLens-1M, beside what RecBole publishes for its LR.

Their seven fields (user, age, gender, occupation, movie, genre, release year), their random split 8:1:1 of the ratings
other than 3, rating 4 and 5 as clicks; L2 chosen on the validation part. The prepared table has a movie's first genre
alone, theirs all; either is a function of the movie id, which is a field. Splits are redrawn: theirs is not published.

    python benchmarks/recbole_linear.py --splits 3
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from pyarrow import parquet
from tabulate import tabulate

from baselines.floors import Linear
from flipbench import metrics
from flipbench.data.split import Rows
from flipbench.data.store import open_table
from flipbench.data.table import Table
from flipbench.paper.others import published
from flipbench.train.rng import make_deterministic

FIELDS = ("user_id", "age", "gender", "occupation", "movie_id", "genre")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Logistic regression under RecBole's fields and split.")
    parser.add_argument("--splits", type=int, default=3, help="random splits, from as many seeds")
    args = parser.parse_args()
    make_deterministic(1)
    theirs = published("recbole-ml-1m", "movielens-1m", "random")
    table, rows = _seven_fields(open_table("movielens-1m")), []
    for seed in range(args.splits):
        started = time.perf_counter()
        l2, auc, logloss = _score(table, seed)
        rows.append([f"split {seed}", f"{l2:g}", auc, logloss, time.perf_counter() - started])
    rows.append(["RecBole", "", theirs.value("linear", "auc"), theirs.value("linear", "logloss"), None])
    headers = ["", "l2", "test AUC", "logloss", "seconds, all of the grid"]
    print(tabulate(rows, headers, floatfmt=("", "", ".4f", ".4f", ".0f")))


def _seven_fields(table: Table) -> Table:
    """The table with RecBole's fields: no zip code, and of the title the year in parentheses at its end."""
    names = [field.name for field in table.fields]
    columns, title = [names.index(name) for name in FIELDS], names.index("title")
    values = parquet.read_table(table.folder / "features.parquet")["value"].to_pylist()  # of the ids from 1
    titles = values[table.offsets[title] - 1 : table.offsets[title + 1] - 1]
    years, year = np.unique([text[-5:-1] for text in titles], return_inverse=True)
    ids = table.num_features + year[table.ids[:, title] - table.offsets[title]]
    return replace(
        table,
        fields=tuple(table.fields[i] for i in (*columns, title)),
        ids=np.column_stack([table.ids[:, columns], ids]).astype(np.int32),
        offsets=np.append(table.offsets, table.num_features + len(years)),
    )


def _score(table: Table, seed: int) -> tuple[float, float, float]:
    """The L2 with the best validation AUC, and its AUC and logloss on the test part of a random split."""
    n = len(table)
    train, valid, test = (
        Rows(table.ids[part], table.labels[part], table.ids[part, 0])
        for part in np.split(np.random.default_rng(seed).permutation(n), [n * 8 // 10, n * 9 // 10])
    )
    found = []
    for l2 in Linear.grid["l2"]:
        model = Linear(table, l2=l2)
        model.fit(train)
        scored = [(part.labels, model(torch.from_numpy(part.ids)).numpy()) for part in (valid, test)]
        found.append((metrics.auc(*scored[0]), l2, metrics.auc(*scored[1]), metrics.logloss(*scored[1])))
    _, l2, auc, logloss = max(found)
    return l2, auc, logloss


if __name__ == "__main__":
    main()
