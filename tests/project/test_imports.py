"""What importing the package costs, and that its folders cannot be imported under a bare name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAPPED = ("envs", "baselines", "agents", "configs", "leaderboard")
HEAVY = ("torch", "stable_baselines3", "sb3_contrib", "wandb", "matplotlib", "pygame", "scipy")


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("folder", MAPPED)
def test_bare_import_from_the_root_is_refused_with_the_right_name(folder: str) -> None:
    result = python(f"import {folder}", cwd=ROOT)
    assert result.returncode != 0
    assert f"sixgym.{folder}" in result.stderr.splitlines()[-1]


def imported_names(path: Path) -> set[str]:
    tops = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops.add("." if node.level else (node.module or "").partition(".")[0])
    return tops


def test_no_file_imports_a_folder_under_its_bare_name_or_relatively() -> None:
    folders = (*MAPPED, "sixgym", "tests", "tools", "benchmarks", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    bad = {str(p.relative_to(ROOT)) for p in files if imported_names(p) & {*MAPPED, "."}}
    assert bad == set()


@pytest.mark.parametrize(
    "code",
    [
        "import sixgym",
        "import sys; sys.argv = ['sixgym', '--help']; from sixgym.cli.main import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code, stop.code",
        "import sys; sys.argv = ['sixgym', 'list']; from sixgym.cli.main import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code, stop.code",
    ],
    ids=["import", "help", "list"],
)
def test_front_door_imports_nothing_heavy(code: str, tmp_path: Path) -> None:
    check = f"\nimport sys\nprint('heavy:', [m for m in {HEAVY!r} if m in sys.modules])"
    result = python(code + check, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "heavy: []" in result.stdout


def test_every_public_name_of_the_front_door_loads() -> None:
    import sixgym

    for name in sixgym.__all__:
        assert getattr(sixgym, name) is not None
    assert set(sixgym.__all__) <= set(dir(sixgym))
    with pytest.raises(AttributeError, match="no attribute 'Sistem'"):
        sixgym.Sistem  # noqa: B018


LAYERS = ("envs.backend", "envs.core", "envs", "baselines", "agents", "leaderboard", "")
"""What stands lower knows nothing of what stands higher; the last is the front door."""


def layer(module: str) -> int:
    """The layer of a module by its name inside the package (``envs.core.rows``)."""
    return next(
        rank
        for rank, prefix in enumerate(LAYERS)
        if not prefix or module == prefix or module.startswith(f"{prefix}.")
    )


def ours_imported(path: Path) -> set[str]:
    """Names inside the package that a file imports, without the leading ``sixgym.``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("sixgym.") for name in names if name.startswith("sixgym.")}


@pytest.mark.parametrize("folder", ["envs", "baselines", "agents", "leaderboard"])
def test_imports_point_one_way(folder: str) -> None:
    wrong = set()
    for path in (ROOT / folder).rglob("*.py"):
        own = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        higher = {name for name in ours_imported(path) if layer(name) > layer(own)}
        wrong |= {f"{path.relative_to(ROOT)} imports {name}" for name in higher}
    assert wrong == set()


def test_no_system_imports_another_system() -> None:
    wrong = set()
    for folder in (ROOT / "envs").iterdir():
        if not folder.is_dir() or folder.name in {"backend", "core"}:
            continue
        for path in folder.rglob("*.py"):
            others = {name for name in ours_imported(path) if layer(name) == LAYERS.index("envs")}
            wrong |= {n for n in others if not f"{n}.".startswith(f"envs.{folder.name}.")}
    assert wrong == set()
