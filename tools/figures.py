# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures of the documentation: what notebooks draw that need no run, as docs/figures/NAME.svg.

python tools/figures.py; then look at each of them before it is committed.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
INTO = ROOT / "docs/figures"
NOTEBOOKS = ("spare-space", "device-kinds", "interference", "placement")
# Vector graphics, the same bytes for the same drawing
SETUP = """
import matplotlib
import matplotlib_inline.backend_inline
matplotlib_inline.backend_inline.set_matplotlib_formats("svg", metadata={"Date": None})
matplotlib.rcParams["svg.hashsalt"] = "nvlab"
matplotlib.rcParams["figure.facecolor"] = "white"
"""


def drawn(name: str) -> list[str]:
    """The figures of a notebook, in its order."""
    notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SETUP))
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ())]
    return [data["image/svg+xml"] for data in outputs if "image/svg+xml" in data]


def main() -> None:
    INTO.mkdir(exist_ok=True)
    for name in NOTEBOOKS:
        for number, figure in enumerate(drawn(name), 1):
            path = INTO / f"{name}-{number}.svg"
            path.write_text("\n".join(line.rstrip() for line in figure.splitlines()) + "\n", encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {len(figure) >> 10} KiB")


if __name__ == "__main__":
    main()
