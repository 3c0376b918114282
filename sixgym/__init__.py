"""sixgym: reinforcement-learning environments for 6G control problems."""

from __future__ import annotations

__version__ = "0.1.0"
