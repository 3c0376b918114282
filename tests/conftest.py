"""Shared by all tests: one thread (the machines are shared) and the toy systems on the path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("WANDB_MODE", "offline")
sys.path.insert(0, str(Path(__file__).parent))

# Shared machines stall: a slow example is not a failing one.
settings.register_profile("sixgym", deadline=None)
settings.load_profile("sixgym")
