"""Evaluation protocol, statistics, stored results, claims and the site made of them."""

from __future__ import annotations

import importlib
from typing import Any

if __name__ != "sixgym.leaderboard":
    raise ImportError(
        "the folder leaderboard/ is the package sixgym.leaderboard: "
        "import it as 'sixgym.leaderboard' (after pip install -e .)"
    )

_LAZY = {
    "evaluate": "sixgym.leaderboard.runner",
    "benchmark": "sixgym.leaderboard.runner",
    "build_site": "sixgym.leaderboard.site",
    "run_claims": "sixgym.leaderboard.claims",
}
"""Where each public function lives; loaded on first touch."""

__all__ = ["benchmark", "build_site", "evaluate", "run_claims"]


def __getattr__(name: str) -> Any:
    """Load a public function on first touch."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
