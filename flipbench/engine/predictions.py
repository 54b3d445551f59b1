"""Test predictions on disk: what every later statistic is computed from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flipbench.data.split import Rows


def write_predictions(path: Path, rows: Rows, logits: NDArray[np.float32]) -> None:
    """One line a test row, in the table's order: ``label`` bool, ``group`` int32, ``logit`` float32.

    ``group`` numbers the users by first appearance: enough to cluster by, and no id of the data set.
    """
    columns = {
        "label": pa.array(rows.labels.astype(bool)),
        "group": pa.array(rows.groups.astype(np.int32)),
        "logit": pa.array(logits.astype(np.float32)),
    }
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=["group"],
        write_statistics=False,
    )
