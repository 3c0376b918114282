"""The version matrix: the tests on every Python at hand, on the oldest and the newest libraries.

Run with ``make versions`` or ``python tools/versions.py --quick --only 3.12``. Interpreters are
``PYTHONS="path ..."``, else python3.11 to python3.13 of the path and pyenv's; one that is missing
is said so, and the metadata must still allow it. Each cell has a virtual environment of its own,
made by uv under ``--into``, and runs on a copy of the working tree. ``--quick`` runs the parts that
touch the libraries most; else the whole fast suite runs.

The oldest are the lower bounds of pyproject.toml, for which the oldest supported Python is used;
the pinned are constraints.txt with all that the tests can use; the newest are what the index has
today. Every cell is written when it is done, and a cell that is not asked for (``--only``) stays as
it was: ``--resume`` runs only those that have not passed yet on this very tree.

torch of the index is built for CUDA and takes some 5 GB with its libraries, which uv downloads once
and links into every environment. A folder of wheels in pip's configuration (``find-links``), of a
build for the CPU say, is taken by uv too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "train,wandb,render,leaderboard,ray,traces,mo,minari"
"""Of the oldest and the newest. Sionna and TorchRL ask for a torch of their own: pinned only."""
WRITTEN = ("onnx>=1.16",)
"""What tests write submissions with; of the extra dev."""
TESTING = ("pip", "pytest", "pytest-xdist", "hypothesis", "setuptools")
"""Tools of the tests, always the newest where nothing is pinned."""
QUICK = ("tests/core", "tests/backend", "tests/conformance", "tests/envs")
SHOWN = (
    "torch", "numpy", "gymnasium", "pettingzoo", "stable-baselines3", "sb3-contrib", "pydantic",
    "scipy", "matplotlib", "optuna", "onnxruntime", "ray", "pyarrow",
)  # fmt: skip
RESULT = re.compile(r"(\d+) (passed|failed|skipped|error)")
SKIPPED = re.compile(r"SKIPPED \[(\d+)\] \S+: (.*)")
LIMIT_S = 3600
"""A cell whose tests take longer hangs."""


@dataclass
class Cell:
    """One environment of the matrix and what came of it."""

    python: str
    libraries: str
    """``newest``, ``oldest`` or ``pinned``."""
    verdict: str = "not run"
    counts: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    """How many tests were skipped, by reason."""
    versions: dict[str, str] = field(default_factory=dict)
    tests: list[str] = field(default_factory=list)
    tree: str = ""
    """Which files were tested: `fingerprint`."""
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the other cells."""
        return self.python, self.libraries


def interpreters() -> list[str]:
    """Where to look for Python, in this order."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = sorted(str(path) for path in pyenv.glob("versions/3.*/bin/python"))
    return [*os.environ.get("PYTHONS", "").split(), *(f"python{v}" for v in PYTHONS), *found]


def interpreter_of(version: str) -> str | None:
    """The path of a Python of a version, or None."""
    for path in interpreters():
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


def fingerprint(tree: Path) -> str:
    """A short hash of all files of a tree but the stored measurements."""
    digest = hashlib.sha256()
    for path in sorted(path for path in tree.rglob("*") if path.is_file()):
        name = path.relative_to(tree).as_posix()
        if not name.startswith("docs/measured/"):
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()[:12]


def settings_of_uv() -> dict[str, str]:
    """The environment of uv: it reads no configuration of pip's, so folders of wheels are told."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    folders = said.stdout.split() if said.returncode == 0 else []
    return {**os.environ, **({"UV_FIND_LINKS": ",".join(folders)} if folders else {})}


def install(cell: Cell, interpreter: str, venv: Path, tree: Path) -> str:
    """Make the environment; returns what went wrong, or nothing."""
    uv = [sys.executable, "-m", "uv"]
    python = venv / "bin" / "python"
    into = [*uv, "pip", "install", "--quiet", "--python", str(python)]
    pins = ["--constraint", str(tree / "constraints.txt")]
    chosen = {"newest": [], "oldest": ["--resolution", "lowest-direct"], "pinned": pins}
    extras = "dev" if cell.libraries == "pinned" else EXTRAS
    steps = (
        [*uv, "venv", "--quiet", "--clear", "--python", interpreter, str(venv)],
        # Not editable yet: what is resolved must not see the tools of the tests.
        [*into, *chosen[cell.libraries], f"{tree}[{extras}]", *WRITTEN],
        [*into, *(pins if cell.libraries == "pinned" else []), *TESTING],
        [*into, "--no-deps", "--editable", str(tree)],
    )
    env = settings_of_uv()
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, env=env)
        if done.returncode != 0:
            return " ".join(done.stderr.split())[:400] or "failed"
    listed = subprocess.run(
        [*uv, "pip", "list", "--quiet", "--python", str(python), "--format", "json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    have = {item["name"].lower(): item["version"] for item in json.loads(listed)}
    cell.versions = {name: have[name] for name in SHOWN if name in have}
    return ""


def reasons(lines: Iterable[str]) -> dict[str, int]:
    """How many tests were skipped for what, from pytest's summary, the most frequent first."""
    found: Counter[str] = Counter()
    for count, reason in filter(None, map(_skipped, lines)):
        found[reason] += count
    return dict(found.most_common())


def _skipped(line: str) -> tuple[int, str] | None:
    match = SKIPPED.match(line)
    if match is None:
        return None
    missing = re.search(r"No module named '([\w.]+)'", match[2])
    reason = f"{missing[1].partition('.')[0]} is not installed" if missing else match[2]
    return int(match[1]), reason.removeprefix("Skipped: ")


def run_tests(cell: Cell, venv: Path, tree: Path, paths: Sequence[str], workers: int) -> None:
    """Run the tests of a copy of the tree by an environment, and keep the counts."""
    command = [str(venv / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--tb=short", "-n", str(workers), "--dist", "loadgroup", *paths]
    inside = f"{venv / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PATH": inside}
    began = time.monotonic()
    log = venv / "tests.log"
    with log.open("w") as stream:
        try:
            code = subprocess.run(
                command, cwd=tree, env=env, stdout=stream, stderr=subprocess.STDOUT,
                timeout=LIMIT_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = -1
    cell.seconds = round(time.monotonic() - began, 1)
    read_log(cell, log.read_text(errors="replace").splitlines(), code)


def read_log(cell: Cell, lines: Sequence[str], code: int) -> None:
    """Keep what pytest printed: counts, what failed, what was skipped for what, the verdict."""
    last = next((line for line in reversed(lines) if line.strip()), "")
    cell.counts = {word: int(count) for count, word in RESULT.findall(last)}
    cell.failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    cell.skipped = reasons(lines)
    cell.verdict = "passes" if code == 0 and cell.counts.get("passed") else "fails"
    if not cell.counts:
        cell.verdict = f"fails: {last.strip() or 'nothing was printed'}"


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


def stored(path: Path) -> dict[tuple[str, str], Cell]:
    """The cells that an earlier run wrote."""
    if not path.is_file():
        return {}
    content: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    known = [Cell(**cell) for cell in content]
    return {cell.key: cell for cell in known}


def keep(path: Path, cell: Cell) -> None:
    """Write a cell beside those that are stored, in the order of the matrix."""
    known = {**stored(path), cell.key: cell}
    order = [c.key for c in cells() if c.key in known]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"cells": [asdict(known[key]) for key in order]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def fill(cell: Cell, place: Path, tree: Path, workers: int) -> None:
    """Make the environment of a cell and run its tests."""
    found = interpreter_of(cell.python)
    if found is None:
        allowed = may_be_installed_on(cell.python)
        cell.verdict = "no interpreter" if allowed else "fails: not in the metadata"
        return
    problem = install(cell, found, place, tree)
    if problem:
        cell.verdict = f"fails: {problem}"
    else:
        run_tests(cell, place, tree, cell.tests, workers)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"only {', '.join(QUICK)}")
    parser.add_argument(
        "--only", action="append", help="a Python, or oldest, newest, pinned, or 3.12-newest"
    )
    parser.add_argument("--resume", action="store_true", help="not what passed on this very tree")
    parser.add_argument("--tests", nargs="+", help="paths of tests instead")
    parser.add_argument("--workers", type=int, default=2, help="processes of the tests")
    parser.add_argument("--into", type=Path, help="folder of the environments, to keep them")
    parser.add_argument("--out", type=Path, default=Path("runs/versions/versions.json"))
    return parser.parse_args()


def is_wanted(cell: Cell, only: Sequence[str] | None) -> bool:
    """Whether a cell was asked for."""
    return not only or bool({cell.python, cell.libraries, "-".join(cell.key)} & set(only))


def main() -> int:
    """Make, run, write and print."""
    given = arguments()
    paths = given.tests or (list(QUICK) if given.quick else ["tests"])
    with tempfile.TemporaryDirectory() as scratch:
        tree = copy_of_the_tree(Path(scratch, "tree"))
        mark = fingerprint(tree)
        for cell in (c for c in cells() if is_wanted(c, given.only)):
            before = stored(given.out).get(cell.key)
            done = before is not None and (before.tree, before.tests) == (mark, paths)
            if given.resume and done and before is not None and before.verdict == "passes":
                continue
            cell.tree, cell.tests = mark, paths
            place = (given.into or Path(scratch)).resolve() / "-".join(cell.key)
            fill(cell, place, tree, given.workers)
            keep(given.out, cell)
            print(line_of(cell), flush=True)
            for line in cell.failed:
                print(f"    {line}", flush=True)
            if given.into is None:
                shutil.rmtree(place, ignore_errors=True)
    table = list(stored(given.out).values())
    print(f"\n{given.out}")
    for cell in table:
        print(line_of(cell))
    return int(any(c.verdict.startswith("fails") for c in table if is_wanted(c, given.only)))


if __name__ == "__main__":
    sys.exit(main())
