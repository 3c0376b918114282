"""The learning curve of a run, and the history of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from sixgym.agents.evaluate import Point
from sixgym.envs.core.system import Score


def learning_curve(
    path: Path,
    curves: Mapping[int, Sequence[Point]],
    baselines: Mapping[str, Point],
    score: Score,
    title: str,
) -> Path:
    """Draw score and mean return on the validation episodes over environment steps.

    Args:
        path: the picture, PNG.
        curves: evaluations of each training seed.
        baselines: evaluations of policies that do not learn, drawn as lines.
        score: the headline score.
        title: environment and algorithm.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, key, label, unit in (
        (panels[0], score.name, score.name, "" if score.unit == "1" else score.unit),
        (panels[1], "mean_return", "mean return", ""),
    ):
        for seed, curve in sorted(curves.items()):
            points = [(p["step"], p[key]) for p in curve if p[key] is not None]
            axes.plot(*zip(*points, strict=True), marker=".", label=f"seed {seed}")
        levels = [(name, level) for name, p in baselines.items() if (level := p[key]) is not None]
        for i, (name, level) in enumerate(levels):
            axes.axhline(level, color=f"C{len(curves) + i}", linestyle="--", label=name)
        axes.set_xlabel("environment steps")
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.yaxis.set_major_formatter(EngFormatter(unit))
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize="small")
    figure.suptitle(f"{title}: validation episodes", fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path


def study_history(
    path: Path, trials: Sequence[Mapping[str, Any]], score: Score, title: str
) -> Path:
    """Draw the score of every trial of a study, and the best so far.

    Args:
        path: the picture, PNG.
        trials: with ``number``, ``state``, ``value`` and ``as_written``, in order.
        score: what the values are of.
        title: of the picture.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for state, marker in (("complete", "o"), ("pruned", "x")):
        points = [(t["number"], t["value"]) for t in trials if t["state"] == state]
        if points:
            axes.plot(*zip(*points, strict=True), marker, label=state)
    complete = [(t["number"], t["value"]) for t in trials if t["state"] == "complete"]
    best = accumulate((v for _, v in complete), max if score.higher_is_better else min)
    axes.step([n for n, _ in complete], list(best), where="post", label="best so far")
    for trial in trials:
        if trial["as_written"] and trial["value"] is not None:
            axes.axhline(trial["value"], color="grey", linestyle="--", label="as written")
    axes.set_xlabel("trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(score.name)
    axes.yaxis.set_major_formatter(EngFormatter("" if score.unit == "1" else score.unit))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
