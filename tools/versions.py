"""The version matrix: the tests on every Python at hand, on the oldest and the newest libraries.

Run with ``make versions`` or ``python tools/versions.py --quick --only 3.12``. Interpreters are
``PYTHONS="path ..."``, else python3.11 to python3.13 of the path; one that is missing is said so,
and the metadata must still allow it. Each cell has a virtual environment of its own, made by uv
under ``--into``, and runs on a copy of the working tree. ``--quick`` runs the parts that touch the
libraries most; else the whole fast suite runs.

The oldest are the lower bounds of pyproject.toml, for which the oldest supported Python is used.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "train,render,leaderboard"
TESTING = ("pytest", "pytest-xdist", "hypothesis", "setuptools")
"""Tools of the tests, always the newest."""
QUICK = ("tests/core", "tests/backend", "tests/conformance", "tests/envs")
SHOWN = (
    "torch", "numpy", "gymnasium", "pettingzoo", "pydantic", "stable-baselines3", "scipy",
)  # fmt: skip
RESULT = re.compile(r"(\d+) (passed|failed|skipped|error)")


@dataclass
class Cell:
    """One environment of the matrix and what came of it."""

    python: str
    libraries: str
    """``newest``, ``oldest`` or ``pinned``."""
    interpreter: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    verdict: str = "not run"


def interpreter_of(version: str) -> str | None:
    """The path of a Python of a version, or None."""
    given = os.environ.get("PYTHONS", "").split()
    for path in (*given, f"python{version}"):
        found = shutil.which(path)
        if found is None:
            continue
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        said = subprocess.run([found, "-c", code], capture_output=True, text=True, check=False)
        if said.returncode == 0 and said.stdout.strip() == version:
            return found
    return None


def cells() -> list[Cell]:
    """The matrix."""
    newest = [Cell(version, "newest") for version in PYTHONS]
    return [Cell(PYTHONS[0], "pinned"), Cell(PYTHONS[0], "oldest"), *newest]


def copy_of_the_tree(target: Path) -> Path:
    """What git tracks and does not ignore, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def install(cell: Cell, venv: Path, tree: Path) -> str:
    """Make the environment; returns what went wrong, or nothing."""
    uv = [sys.executable, "-m", "uv"]
    python = venv / "bin" / "python"
    into = [*uv, "pip", "install", "--quiet", "--python", str(python)]
    chosen = {
        "newest": [],
        "oldest": ["--resolution", "lowest-direct"],
        "pinned": ["--constraint", str(ROOT / "constraints.txt")],
    }[cell.libraries]
    steps = (
        [*uv, "venv", "--quiet", "--clear", "--python", cell.interpreter, str(venv)],
        # Not editable yet: what is resolved must not see the tools of the tests.
        [*into, *chosen, f"{tree}[{EXTRAS}]"],
        [*into, *TESTING],
        [*into, "--no-deps", "--editable", str(tree)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            return lines[0] if lines else "failed"
    listed = subprocess.run(
        [*uv, "pip", "list", "--quiet", "--python", str(python), "--format", "json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    have = {item["name"].lower(): item["version"] for item in json.loads(listed)}
    cell.versions = {name: have[name] for name in SHOWN if name in have}
    return ""


def run_tests(cell: Cell, venv: Path, tree: Path, paths: list[str], workers: int) -> None:
    """Run the tests of a copy of the tree by an environment, and keep the counts."""
    command = [str(venv / "bin" / "pytest"), "-q", "-p", "no:cacheprovider", "--tb=line"]
    command += ["-n", str(workers), "--dist", "loadgroup", *paths]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    cell.counts = {word: int(count) for count, word in RESULT.findall(lines[-1] if lines else "")}
    cell.failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    cell.verdict = "passes" if done.returncode == 0 else "fails"
    if not cell.counts:
        cell.verdict = f"fails: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"


def may_be_installed_on(version: str) -> bool:
    """Whether the metadata names a Python that is not at hand."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = f"Programming Language :: Python :: {version}" in project["classifiers"]
    bounds = dict(re.findall(r"(>=|<)\s*3\.(\d+)", project["requires-python"]))
    minor = int(version.split(".")[1])
    return named and int(bounds[">="]) <= minor < int(bounds["<"])


def line_of(cell: Cell) -> str:
    """A row of the table."""
    counts = ", ".join(f"{count} {word}" for word, count in cell.counts.items())
    versions = " ".join(f"{name} {version}" for name, version in cell.versions.items())
    return f"{cell.python:<6}{cell.libraries:<8}{cell.verdict:<9}{counts:<40}{versions}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument("--only", action="append", help="a Python or oldest, newest, pinned")
    parser.add_argument("--tests", nargs="+", help="paths of tests instead")
    parser.add_argument("--workers", type=int, default=2, help="processes of the tests")
    parser.add_argument("--into", type=Path, help="folder of the environments, to keep them")
    parser.add_argument("--out", type=Path, default=Path("runs/versions/versions.json"))
    return parser.parse_args()


def main() -> int:
    """Make, run, print and write."""
    given = arguments()
    paths = given.tests or (list(QUICK) if given.quick else ["tests"])
    wanted = [c for c in cells() if not given.only or {c.python, c.libraries} & set(given.only)]
    with tempfile.TemporaryDirectory() as scratch:
        tree = copy_of_the_tree(Path(scratch, "tree"))
        for cell in wanted:
            found = interpreter_of(cell.python)
            if found is None:
                allowed = may_be_installed_on(cell.python)
                cell.verdict = "no interpreter" if allowed else "fails: not in the metadata"
            else:
                cell.interpreter = found
                place = (given.into or Path(scratch)) / f"{cell.python}-{cell.libraries}"
                problem = install(cell, place, tree)
                cell.verdict = f"fails: {problem}" if problem else cell.verdict
                if not problem:
                    run_tests(cell, place, tree, paths, given.workers)
            print(line_of(cell), flush=True)
            for line in cell.failed:
                print(f"    {line}", flush=True)
    content = [{k: v for k, v in asdict(c).items() if k != "interpreter"} for c in wanted]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"tests": paths, "cells": content}, indent=1) + "\n")
    print(given.out)
    return int(any(cell.verdict.startswith("fails") for cell in wanted))


if __name__ == "__main__":
    sys.exit(main())
