"""The notebooks run from top to bottom, and carry what they print and draw."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat (the dev extra)")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SYSTEMS = {"event_offload", "llm_mac", "netgpt", "ris_noma", "twin_mobility"}


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "tools" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pictures(book: nbformat.NotebookNode) -> int:
    outputs = [o for cell in book.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    return sum("image/png" in o.get("data", {}) for o in outputs)


def test_every_system_has_a_notebook() -> None:
    assert {path.stem for path in NOTEBOOKS} == SYSTEMS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_carries_its_pictures_and_no_place_of_a_machine(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert pictures(book) >= 3
    for cell in book.cells:
        if cell.cell_type == "code":
            compile(cell.source, path.name, "exec")
        text = str(cell.source) + "".join(str(o.get("text", "")) for o in cell.get("outputs", []))
        assert not re.search(r"/(home|root|Users|work|tmp)/", text)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="notebooks are run by nbclient (the dev extra)")
    assert pictures(tool().run(path, tmp_path)) >= 3
