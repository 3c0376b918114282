"""The table of baselines of ``sixgym/NetGptBatch-v0``."""

from __future__ import annotations

from sixgym.baselines.netgpt.table import table

BASELINES = table("batch")
"""The table of `sixgym/NetGptBatch-v0`."""
