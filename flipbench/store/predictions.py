"""Test predictions on disk: what every later statistic is computed from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flipbench.data.split import Rows
from flipbench.errors import DamagedError

_SCHEMA = pa.schema([("label", pa.bool_()), ("group", pa.int32()), ("logit", pa.float32())])


@dataclass(frozen=True)
class Predictions:
    """A run's test rows, in the table's order.

    Attributes:
        labels: [N] bool. groups: [N] int32, which user. logits: [N] float32, finite.
    """

    labels: NDArray[np.bool_]
    groups: NDArray[np.int32]
    logits: NDArray[np.float32]


def read_predictions(path: Path, may_be_equal: bool = False) -> Predictions:
    """What :func:`write_predictions` wrote, checked to be something that can be scored.

    Raises:
        DamagedError: unreadable or other columns, no rows, labels of one class, logits that are not finite, users
            numbered beyond the rows, or, unless they ``may_be_equal``, logits all the same.
    """
    try:
        with pq.ParquetFile(path) as file:  # neither this nor DLPack imports pandas
            if not file.schema_arrow.equals(_SCHEMA):
                raise ValueError(f"columns {', '.join(file.schema_arrow.names)}, not those of predictions")
            table = file.read(use_threads=False)
        label, *rest = table.columns
        columns: list[NDArray[Any]] = [np.from_dlpack(c.combine_chunks()) for c in (label.cast(pa.uint8()), *rest)]
        labels, groups, logits = columns[0].view(np.bool_), columns[1], columns[2]
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DamagedError(f"{path}: not a file of predictions ({str(error).splitlines()[0]})") from None
    if len(labels) == 0 or labels.all() or not labels.any():
        raise DamagedError(f"{path}: AUC needs rows of both classes; all {len(labels)} labels are equal")
    if bad := int((~np.isfinite(logits)).sum()):
        raise DamagedError(f"{path}: {bad} of {len(logits)} predictions are NaN or infinite")
    if groups.min() < 0 or groups.max() >= len(groups):
        raise DamagedError(f"{path}: users are numbered {groups.min()} to {groups.max()}, of {len(groups)} rows")
    if not may_be_equal and (logits == logits[0]).all():
        raise DamagedError(f"{path}: every prediction is {logits[0]:g}: the model distinguishes no rows")
    return Predictions(labels, groups, logits)


def write_predictions(path: Path, rows: Rows, logits: NDArray[np.float32]) -> None:
    """One line a test row, in the table's order: ``label`` bool, ``group`` int32, ``logit`` float32.

    ``group`` numbers the users by first appearance: enough to cluster by, and no id of the data set.
    """
    columns = {
        "label": pa.array(rows.labels.astype(bool)),
        "group": pa.array(rows.groups.astype(np.int32)),
        "logit": pa.array(logits.astype(np.float32)),
    }
    how = {"compression": "zstd", "compression_level": 19, "use_dictionary": ["group"], "write_statistics": False}
    pq.write_table(pa.table(columns), path, **how)
