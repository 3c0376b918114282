"""The learning curve of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from sixgym.agents.toolcall.grading import Report

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
