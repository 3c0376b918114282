"""Evaluation protocol, statistics, stored results, claims and the site made of them."""

from __future__ import annotations

if __name__ != "sixgym.leaderboard":
    raise ImportError(
        "the folder leaderboard/ is the package sixgym.leaderboard: import it as 'sixgym.leaderboard' (after pip install -e .)"
    )
