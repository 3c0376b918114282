"""Policies that do not learn: generic ones, and one module a system."""

from __future__ import annotations

if __name__ != "sixgym.baselines":
    raise ImportError(
        "the folder baselines/ is the package sixgym.baselines: "
        "import it as 'sixgym.baselines' (after pip install -e .)"
    )
