"""The matrix of versions: what is asked for, read from pytest, kept and shown."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = "{}.{}".format(*sys.version_info[:2])
LOG = """\
....s.F                                                                  [100%]
=================================== FAILURES ===================================
SKIPPED [2] tests/core/test_view.py:13: could not import 'torchrl': No module named 'torchrl'
SKIPPED [1] tests/core/test_game.py:14: could not import 'torchrl': No module named 'torchrl'
SKIPPED [1] tests/core/test_device.py:30: no GPU is at hand
FAILED tests/core/test_rows.py::test_rows - assert 1 == 2
1 failed, 5 passed, 4 skipped, 7 deselected, 2 warnings in 12.34s
""".splitlines()


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import versions

    return versions


def run(versions: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["versions.py", *map(str, words)])
    return int(versions.main())


@pytest.fixture
def ran(versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """The cells whose tests were asked to run; a tree of one file, no environment is made."""
    cells: list[Any] = []

    def fill(cell: Any, *rest: object) -> None:
        cells.append(cell.key)
        cell.verdict = "passes"

    def copy(target: Path) -> Path:
        target.mkdir()
        (target / "a.py").write_text((tmp_path / "a.py").read_text())
        return target

    (tmp_path / "a.py").write_text("1")
    monkeypatch.setattr(versions, "fill", fill)
    monkeypatch.setattr(versions, "copy_of_the_tree", copy)
    return cells


def test_counts_failures_and_reasons_are_read_from_pytest(versions: ModuleType) -> None:
    cell = versions.Cell("3.11", "oldest")
    versions.read_log(cell, LOG, 1)
    assert cell.counts == {"failed": 1, "passed": 5, "skipped": 4}
    assert cell.failed == ["FAILED tests/core/test_rows.py::test_rows - assert 1 == 2"]
    assert cell.skipped == {"torchrl is not installed": 3, "no GPU is at hand": 1}
    assert cell.verdict == "fails"


@pytest.mark.parametrize(
    ("lines", "code", "verdict"),
    [
        (["5 passed in 1s"], 0, "passes"),
        (["5 passed, 1 error in 1s"], 1, "fails"),
        (["5 skipped in 1s"], 0, "fails"),
        (["ERROR: file or directory not found: x"], 4, "fails: ERROR: file or directory"),
        (["....", ""], -1, "fails: ...."),
        ([], 0, "fails: nothing was printed"),
    ],
)
def test_a_cell_passes_only_if_tests_ran_and_none_failed(
    versions: ModuleType, lines: list[str], code: int, verdict: str
) -> None:
    cell = versions.Cell("3.11", "oldest")
    versions.read_log(cell, lines, code)
    assert cell.verdict == verdict or cell.verdict.startswith(f"{verdict} ")


def test_cells_stay_and_resuming_runs_what_has_not_passed_on_this_tree(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, ran: list[Any], tmp_path: Path
) -> None:
    out = tmp_path / "out" / "versions.json"
    assert run(versions, monkeypatch, "--only", "3.12", "--out", out) == 0
    assert run(versions, monkeypatch, "--only", "3.11-newest", "--out", out) == 0
    kept = json.loads(out.read_text())["cells"]
    assert [(c["python"], c["libraries"]) for c in kept] == [("3.11", "newest"), ("3.12", "newest")]
    assert ran == [("3.12", "newest"), ("3.11", "newest")]
    ran.clear()
    run(versions, monkeypatch, "--resume", "--out", out)
    assert ran == [("3.11", "pinned"), ("3.11", "oldest"), ("3.13", "newest")]
    ran.clear()
    run(versions, monkeypatch, "--resume", "--out", out)
    assert ran == []
    (tmp_path / "a.py").write_text("2")
    run(versions, monkeypatch, "--resume", "--only", "oldest", "--out", out)
    assert ran == [("3.11", "oldest")]


def test_what_fails_is_the_exit_code(
    versions: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    ran: list[Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(cell: Any, *rest: object) -> None:
        versions.read_log(cell, LOG, 1)

    monkeypatch.setattr(versions, "fill", fail)
    assert run(versions, monkeypatch, "--only", "oldest", "--out", tmp_path / "o.json") == 1
    printed = capsys.readouterr().out
    assert "test_rows.py::test_rows" in printed
    assert "1 failed, 5 passed, 4 skipped" in printed.splitlines()[-1]


def test_the_measurements_do_not_change_what_the_tree_is(
    versions: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "docs" / "measured").mkdir(parents=True)
    (tmp_path / "a.py").write_text("1")
    before = versions.fingerprint(tmp_path)
    (tmp_path / "docs" / "measured" / "versions.json").write_text("{}")
    assert versions.fingerprint(tmp_path) == before
    (tmp_path / "b.py").write_text("1")
    assert versions.fingerprint(tmp_path) != before


def test_the_copy_has_what_is_not_committed_yet_and_nothing_that_is_ignored(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".gitignore").write_text("*.log\n")
    (root / "sub" / "new.py").write_text("1")
    (root / "noise.log").write_text("1")
    monkeypatch.setattr(versions, "ROOT", root)
    tree = versions.copy_of_the_tree(tmp_path / "tree")
    found = {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()}
    assert found == {".gitignore", "sub/new.py"}


def test_interpreters_are_found_by_their_version_not_by_their_name(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("PYTHONS", raising=False)
    assert versions.interpreter_of(HERE) is None
    monkeypatch.setenv("PYTHONS", f"/nowhere/python {sys.executable}")
    assert versions.interpreter_of(HERE) == sys.executable
    assert versions.interpreter_of("3.9") is None
    monkeypatch.delenv("PYTHONS")
    (tmp_path / "versions" / "3.99.0" / "bin").mkdir(parents=True)
    (tmp_path / "versions" / "3.99.0" / "bin" / "python").symlink_to(sys.executable)
    assert versions.interpreter_of(HERE) is not None


def test_a_missing_interpreter_is_said_and_the_metadata_asked(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "interpreter_of", lambda version: None)
    verdicts = {}
    for python in ("3.13", "3.14", "3.10"):
        cell = versions.Cell(python, "newest")
        versions.fill(cell, tmp_path, tmp_path, 1)
        verdicts[python] = cell.verdict
    not_allowed = "fails: not in the metadata"
    assert verdicts == {"3.13": "no interpreter", "3.14": not_allowed, "3.10": not_allowed}


def test_every_supported_python_and_the_libraries_of_the_tests_are_in_the_matrix(
    versions: ModuleType,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    marker = "Programming Language :: Python :: 3."
    named = {c.rpartition(" ")[2] for c in project["classifiers"] if c.startswith(marker)}
    newest = {cell.python for cell in versions.cells() if cell.libraries == "newest"}
    assert newest == named == set(versions.PYTHONS)
    assert set(versions.EXTRAS.split(",")) <= set(project["optional-dependencies"])
    assert set(versions.WRITTEN) <= set(project["optional-dependencies"]["dev"])


def test_the_page_shows_each_cell_and_why_tests_were_skipped(
    versions: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import measurements

    monkeypatch.setattr(measurements, "MEASURED", tmp_path)
    assert "make versions" in measurements.versions()
    failing = versions.Cell("3.11", "oldest", versions={"torch": "2.8.0", "numpy": "1.26.0"})
    versions.read_log(failing, LOG, 1)
    absent = versions.Cell("3.13", "newest", "no interpreter")
    for cell in (absent, failing):
        versions.keep(tmp_path / "versions.json", cell)
    head, _, first, second, *rest = measurements.versions().splitlines()
    assert first.startswith("| 3.11 | oldest | fails | 5 | 1 | 4 | 2.8.0 | 1.26.0 |")
    assert second.startswith("| 3.13 | newest | no interpreter | 0 | 0 | 0 |  |")
    assert head.count("|") == first.count("|") == second.count("|")
    assert "- 3.11 oldest: 3 for torchrl is not installed; 1 for no GPU is at hand" in rest
