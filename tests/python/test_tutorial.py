"""docs/tutorial.ipynb as a reader would run it, and that it shows what its cells printed.

`jupyter execute --inplace docs/tutorial.ipynb`, with PYTHONPATH as the test has it, stores new outputs."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_BYTES = 30_000  # it is read as a page, and its outputs in every diff


def printed(cell):
    """How many lines; what they say may differ in the last digits with the processor."""
    if cell["cell_type"] != "code":
        return 0
    assert all(o["output_type"] == "stream" and o["name"] == "stdout" for o in cell["outputs"])
    return sum(len(o["text"].splitlines()) for o in cell["outputs"])


def test_the_notebook_runs(monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    page = ROOT / "docs/tutorial.ipynb"
    stored = nbformat.read(page, as_version=4)
    nbformat.validate(stored)
    run = nbformat.read(page, as_version=4)
    monkeypatch.chdir(ROOT / "docs")
    nbclient.NotebookClient(run, timeout=300, kernel_name="python3").execute()
    lines = [printed(cell) for cell in run.cells]
    assert sum(count > 0 for count in lines) >= 8
    shown = [printed(cell) for cell in stored.cells]
    assert [n > 0 for n in shown] == [n > 0 for n in lines]
    assert page.stat().st_size < MOST_BYTES
