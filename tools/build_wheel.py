"""Builds the wheel and the source distribution of this checkout without leaving anything in it.

A build inside the checkout would reuse ``build/lib`` and so ship files that are long deleted, and
``pip`` has no switch for that: the sources are copied out first.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAPPED = ("envs", "baselines", "agents", "configs", "leaderboard")
"""The folders that are packages below ``sixgym``; the project tests compare this with setup.py."""

_FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")


def build_wheel(into: Path) -> Path:
    """Build the wheel into the folder ``into`` and return its path."""
    command = ["pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    with _copied_sources() as source:
        command += ["--no-build-isolation", "--wheel-dir", str(into), str(source)]
        subprocess.run([sys.executable, "-m", *command], check=True)
    return next(into.glob("sixgym-*.whl"))


def build_sdist(into: Path) -> Path:
    """Build the source distribution into the folder ``into`` and return its path."""
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    with _copied_sources() as source:
        command = [sys.executable, "-c", code, str(into)]
        subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
    return next(into.glob("sixgym-*.tar.gz"))


@contextmanager
def _copied_sources() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        for name in _FILES:
            shutil.copy(ROOT / name, source / name)
        for name in ("sixgym", *MAPPED):
            shutil.copytree(ROOT / name, source / name, ignore=_IGNORED)
        yield source
