"""The notebooks run from start to end in an empty folder, and show what they say they show."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))}
ROWS = {
    "1_results_of_table_2": ["constant", "dcnv2", "flip_id"],
    "2_own_model": ["deepfm", "fwfm"],
    "3_own_data": ["dcnv2", "flip"],
}
"""Of each notebook, rows that its tables have."""


def test_every_notebook_is_run():
    assert NOTEBOOKS.keys() == ROWS.keys()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_kept_without_outputs_and_uses_the_api_alone(name):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
            written = cell.source.split("'''")[::2]  # a file of one's own may import more
            lines = [line for part in written for line in part.splitlines()]
            assert not any(line.startswith(("%", "!")) for line in lines)
            assert {line for line in lines if "import flipbench" in line or "from flipbench" in line} <= {
                "from flipbench import api"
            }


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_shows_tables(name, tmp_path):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = {kind: "".join(o.text for o in outputs if o.get("name") == kind) for kind in ("stdout", "stderr")}
    assert "Warning" not in said["stderr"]
    tables = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", ())]
    assert len(tables) >= 3
    for row in ROWS[name]:
        assert any(f"<th>{row}</th>" in table or f"<td>{row}</td>" in table for table in tables), row
    if name.startswith("1"):
        assert any("image/png" in output.get("data", ()) for output in outputs), "the plot"
        assert "@inproceedings{wang2024flip," in said["stdout"]
        assert "some_rows.runs.parquet" in said["stdout"]
