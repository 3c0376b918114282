"""The table of baselines of ``sixgym/NetGptRoute-v0``."""

from __future__ import annotations

from sixgym.baselines.netgpt.table import table

BASELINES = table("route")
"""The table of `sixgym/NetGptRoute-v0`."""
