"""The systems: `backend` (physics), `core` (what makes environments of them), one folder each."""

from __future__ import annotations

if __name__ != "sixgym.envs":
    raise ImportError(
        "the folder envs/ is the package sixgym.envs: "
        "import it as 'sixgym.envs' (after pip install -e .)"
    )
