"""The notebooks run from start to end in an empty folder, and show what they say they show."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory):
    notebook = nbformat.read(request.param, as_version=4)
    nbformat.validate(notebook)
    folder = tmp_path_factory.mktemp(request.param.stem)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    return request.param.stem, notebook


def shown(notebook, kind):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.data[kind] for output in outputs if "data" in output and kind in output.data]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_uses_the_api_alone(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            imports = [line for line in cell.source.splitlines() if line.startswith(("from flipbench", "import flipbench"))]
            assert set(imports) <= {"from flipbench import api"} or "class " in cell.source
            assert not any(line.startswith(("%", "!")) for line in cell.source.splitlines())


def test_a_notebook_runs_and_shows_tables(executed):
    name, notebook = executed
    assert not [out for cell in notebook.cells for out in cell.get("outputs", ()) if out.output_type == "error"]
    warnings = [out.text for cell in notebook.cells for out in cell.get("outputs", ()) if out.get("name") == "stderr"]
    assert not [text for text in warnings if "Warning" in text or "Traceback" in text]
    tables = shown(notebook, "text/html")
    expected = {"1": ["dcnv2", "flip_id", "item_mean"], "2": ["fwfm", "deepfm"], "3": ["flip"]}[name[0]]
    assert len(tables) >= 2
    assert all(any(row in table for table in tables) for row in expected)
    if name.startswith("1"):
        assert shown(notebook, "image/png"), "the plot"
        text = "".join(out.text for cell in notebook.cells for out in cell.get("outputs", ()) if out.get("name") == "stdout")
        assert "@inproceedings{wang2024flip," in text
        assert "some_rows.runs.parquet" in text
