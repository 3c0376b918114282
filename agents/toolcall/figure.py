"""Pictures of a run: its learning curve, and the service of a closed loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sixgym.agents.toolcall.grading import Report

if TYPE_CHECKING:
    from sixgym.agents.toolcall.loop import Slot

Curve = Sequence[tuple[int, Report]]
"""Iterations done, and the evaluation then."""

PANELS = (
    ("exactly right", {"hard_success": "hard requests", "easy_success": "easy requests"}),
    ("schema-valid", {"hard_valid": "hard requests", "easy_valid": "easy requests"}),
    (
        "nats a sequence",
        {"kl_forward": "D(supervised || agent)", "kl_reverse": "D(agent || supervised)"},
    ),
)
"""What each panel tells: its axis, and its lines by field of a report."""


def draw_curves(path: Path, curves: Mapping[int, Curve], title: str) -> Path:
    """Draw success, validity and drift on the frozen sets over iterations, a line a seed.

    Args:
        path: the picture, PNG.
        curves: of each seed.
        title: of the run.
    """
    figure = Figure(figsize=(12.0, 3.6), layout="constrained")
    for axes, (label, lines) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for k, (field, name) in enumerate(lines.items()):
            for i, curve in enumerate(curves.values()):
                steps = [step for step, _ in curve]
                values = [getattr(report, field) for _, report in curve]
                axes.plot(steps, values, f"C{k}", marker=".", label=name if i == 0 else None)
        axes.set_xlabel("iterations")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.suptitle(f"{title}: frozen evaluation, seeds {', '.join(map(str, curves))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


class LoopPanel(NamedTuple):
    """What a panel of a closed loop tells."""

    field: str
    """Of a slot, solid."""
    label: str
    beside: str
    """Of a slot, dotted."""
    beside_label: str


LOOP_PANELS = (
    LoopPanel("offload", "offload share", "offload_mix", "in the mean over networks"),
    LoopPanel("success", "success", "draft_success", "drafts alone"),
    LoopPanel("valid", "schema-correct", "draft_valid", "drafts alone"),
)
LOOP_BOTTOM = {"offload": 0.0, "success": 0.4, "valid": 0.9}
"""Where an axis begins, if all values are above. [our choice]"""
LOOP_WINDOW = 10
"""Slots of the moving average, centred. [our choice]"""


def draw_loop(path: Path, served: Mapping[int, Sequence[Slot]], title: str) -> Path:
    """Draw offload share, success and schema-correctness over time, a line a seed.

    Args:
        path: the picture, PNG.
        served: the slots of each seed.
        title: of the run.
    """
    figure = Figure(figsize=(12.0, 3.6), layout="constrained")
    every_slots = list(served.values())
    counts = [s.updates for s in every_slots[0]]
    updates = [k for k in range(1, len(counts)) if counts[k] > counts[k - 1]]
    panels = figure.subplots(1, len(LOOP_PANELS))
    for axes, panel in zip(panels, LOOP_PANELS, strict=True):
        for k, (seed, slots) in enumerate(served.items()):
            axes.plot(_smooth(slots, panel.field), f"C{k}", label=f"seed {seed}")
            axes.plot(_smooth(slots, panel.beside), f"C{k}:")
        for n, update in enumerate(updates):
            axes.axvline(update, color="0.6", lw=0.8, label=None if n else "update of the edge")
        axes.set_ylim(min(LOOP_BOTTOM[panel.field], axes.get_ylim()[0]), 1.01)
        axes.set_xlabel("slot")
        axes.set_ylabel(f"{panel.label} (dotted: {panel.beside_label})", fontsize="small")
        axes.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle(f"{title}: moving average over {LOOP_WINDOW} slots")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def _smooth(slots: Sequence[Slot], field: str) -> Sequence[float]:
    """Share over the requests of the slots around each one; NaN where there are none."""
    weight = np.array([float(s.requests) for s in slots])
    value = np.array([getattr(s, field) or 0.0 for s in slots])
    window = np.ones(min(LOOP_WINDOW, len(slots)))
    count = np.convolve(weight, window, "same")
    total = np.convolve(weight * value, window, "same")
    with np.errstate(invalid="ignore"):
        smooth: list[float] = (total / count).tolist()
    return smooth
