# SPDX-License-Identifier: GPL-2.0-or-later
"""Every notebook runs from top to bottom in a clean checkout: its own assertions hold. What it prints is in none."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OF_A_RUN = [path for path in NOTEBOOKS if "NVLAB_RUNS" in path.read_text(encoding="utf-8")]  # of a guest: tests/vm/test_labs.py
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and the core built here of it; nothing else that lies about."""
    if not (ROOT / ".git").exists():
        return ROOT
    place = tmp_path_factory.mktemp("checkout")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(place, filter="data")
    for core in (ROOT / "nvlab/sim").glob("_core*.so"):
        shutil.copy(core, place / "nvlab/sim")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path not in OF_A_RUN], ids=lambda path: path.stem)
def test_it_runs(path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (checkout / "notebooks" / path.name).exists():
        pytest.fail(f"{path.name} is not committed")
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    notebook = nbformat.read(checkout / "notebooks" / path.name, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"import nvlab\nassert nvlab.__file__ == '{checkout}/nvlab/__init__.py'"))
    resources = {"metadata": {"path": str(checkout / "notebooks")}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    drawn = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]
    assert drawn


@each_notebook
def test_it_takes_what_analyses_a_run_from_one_place(path: Path) -> None:
    """A notebook is what others begin with: whatever one needs is in ``nvlab.analysis`` itself."""
    source = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert "nvlab.analysis." not in source


@each_notebook
def test_it_is_kept_without_what_it_prints(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
