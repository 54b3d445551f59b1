"""A suite's results as files that others read: CSV and Parquet, and the Hugging Face hub's ``.eval_results``."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
from pandas.api.types import is_object_dtype

import flipbench
from flipbench.atomic import replacing, write_files
from flipbench.errors import UserError
from flipbench.plan.expand import Cell, Plan
from flipbench.plan.stage import Stage
from flipbench.protocol import Metric
from flipbench.report.collect import run_of, seeds_run
from flipbench.report.frames import predictions_of, results_of_plan, trials_of
from flipbench.report.significance import Evidence
from flipbench.report.stems import stem_of
from flipbench.store.runs import Store

HUB = ".eval_results"
"""The folder of a model's repository that the hub reads results from."""


def export_files(plan: Plan, store: Store, folder: Path, hub: Mapping[str, str]) -> list[Path]:
    """Write the files that :func:`flipbench.api.export` names, each replaced as a whole.

    Raises:
        UserError: no finished run, a run's files are missing, damaged or changed, or the folder cannot be written.
    """
    runs, name = results_of_plan(plan, store), plan.suite.suite
    if runs.empty:
        raise UserError(f"{name}: no finished run in {store.root} to export")
    tables = {f"{name}.runs": runs.reset_index()}
    if plan.suite.tune is not None:
        tables[f"{name}.trials"] = trials_of(plan, store)
    contents = {file: content for stem, table in tables.items() for file, content in _table(stem, table)}
    written = write_files(folder, contents, "the export")
    written.append(_write_predictions(folder / f"{name}.predictions.parquet", runs["key"].unique(), store))
    cards = _eval_results(plan, store, hub)
    return [*written, *(write_files(folder / HUB, cards, "the export") if cards else [])]


def _table(stem: str, frame: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """A frame as CSV and as Parquet, each column of one type: a setting with values of several types as JSON."""
    typed = frame.copy()
    for column in filter(lambda name: is_object_dtype(frame[name]), frame.columns):
        values = frame[column].convert_dtypes()
        mixed = is_object_dtype(values)
        typed[column] = values.map(json.dumps, na_action="ignore").astype("string") if mixed else values
    yield f"{stem}.csv", typed.to_csv(index=False, lineterminator="\n").encode()
    binary = io.BytesIO()
    typed.to_parquet(binary, index=False)
    yield f"{stem}.parquet", binary.getvalue()


def _write_predictions(path: Path, keys: Iterable[str], store: Store) -> Path:
    """One line a run and test row: ``key``, ``label``, ``group``, ``logit``; one run in memory at a time."""
    schema = pa.schema([("key", pa.string()), ("label", pa.bool_()), ("group", pa.int32()), ("logit", pa.float32())])
    try:
        with replacing(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
            for key in keys:
                rows = predictions_of(key, store).assign(key=key)
                writer.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False))
    except OSError as error:
        raise UserError(f"{path}: the export cannot be written: {error.strerror}") from error
    return path


def _eval_results(plan: Plan, store: Store, hub: Mapping[str, str]) -> dict[str, bytes]:
    """The content of a file a row, by its name, for the folder :data:`HUB` of that model's repository.

    A value is the mean over the seeds that every cell has so far, as in a report; a cell that lacks one of them is left
    out.
    """
    seeds, evidence = seeds_run(plan, store) or 0, Evidence(store)
    rows: dict[str, list[EvalResultEntry]] = {}
    for cell in plan.cells:
        stages = cell.evaluations[:seeds]
        if stages and all(map(store.done, stages)):
            rows.setdefault(cell.method.label, []).extend(_entries(cell, stages, evidence, plan.suite.suite, hub))
    files: dict[str, bytes] = {}
    for label, entries in rows.items():
        stem = stem_of(f"{plan.suite.suite}-{label}", {name.removesuffix(".yaml") for name in files})
        text = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=120)
        files[f"{stem}.yaml"] = text.encode()
    return files


def _entries(
    cell: Cell, stages: Sequence[Stage], evidence: Evidence, suite: str, hub: Mapping[str, str]
) -> Iterator[EvalResultEntry]:
    """One a metric; what else a column's label says beside the data set's name is part of the task's."""
    name, *conditions = cell.data.label.split("@")
    runs = [run_of(stage, evidence) for stage in stages]
    metrics: tuple[Metric, ...] = get_args(Metric)
    for metric in metrics:
        values = [run.auc if metric == "auc" else run.logloss for run in runs]
        spread = f", sd {stdev(values):.2g}" if len(values) > 1 else ""
        seeds = f"{len(values)} seeds, mean{spread}" if len(values) > 1 else "1 seed"
        keys = ", ".join(run.key[:12] for run in runs)
        made = f"flipbench {flipbench.__version__}, suite {suite}, runs {keys}"
        yield EvalResultEntry(
            dataset_id=hub.get(name, name),
            task_id="-".join([*conditions, metric]),
            value=fmean(values),
            notes=f"{stages[0].spec['protocol']}; {seeds}; {made}",
        )
