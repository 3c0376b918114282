"""Claims: statements about a system, each measured, with a verdict and a figure.

A system's module (named in the registry) has a table ``CLAIMS`` of `framework.Claim` and, if its
claims need policies that are no baselines, a table ``PLAYERS``. `run_claims` measures them.
"""

from __future__ import annotations

from sixgym.leaderboard.claims.framework import run_claims

__all__ = ["run_claims"]
