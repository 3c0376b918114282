"""``sixgym list`` and ``sixgym info``: what there is."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

import typer

from sixgym.cli.options import EnvId, Overrides, read_overrides
from sixgym.cli.text import section, table
from sixgym.envs.core.registry import Entry, entries, entry

if TYPE_CHECKING:
    from sixgym.envs.core.system import System


def list_environments() -> None:
    """List the environments."""
    rows = [[e.id, _steps(e), e.title] for e in entries()]
    typer.echo(table(rows, header=["id", "steps", "what it is"], indent=0))


def info(
    id: EnvId,
    params: Overrides = None,
) -> None:
    """Show an environment: spaces, parameters, metrics, scores, baselines."""
    from sixgym.envs.core.make import make_system

    found = entry(id)
    system = make_system(found.system, **read_overrides(params))
    parts = [
        f"{found.id}: {found.title}",
        section("About", _about(system)),
        section("Spaces", _spaces(found, system)),
        section("Parameters", _parameters(system)),
        section("Presets", "  " + ", ".join(sorted(type(system.params).presets))),
        section("Metrics", _metrics(system)),
        section("Scores (ratios of sums; the first is the leaderboard's)", _scores(system)),
        section("Baselines", _baselines(id)),
    ]
    typer.echo("\n".join(parts))


def _steps(found: Entry) -> str:
    return "-" if found.max_episode_steps is None else str(found.max_episode_steps)


def _spaces(found: Entry, system: System[Any, Any]) -> str:
    rows = [
        ["observation", str(system.observation_space)],
        ["action", str(system.action_space)],
        ["steps", f"{_steps(found)} an episode, then truncated"],
    ]
    return table(rows, header=["space", "what"])


MARKS = {
    "paper": "[paper]",
    "notes": "[notes]",
    "related": "[related]",
    "standard": "[standard]",
    "ours": "[our choice]",
}
"""How the source of a default is written, everywhere."""


def _parameters(system: System[Any, Any]) -> str:
    rows = [
        [
            row.name,
            short(str(getattr(system.params, row.name))),
            row.unit,
            short(row.allowed),
            MARKS.get(row.source, row.source),
            row.description,
        ]
        for row in type(system.params).table()
    ]
    return table(rows, header=["name", "value", "unit", "allowed", "source", "meaning"])


def short(text: str) -> str:
    """Numbers of a text as a person writes them: ``1e+06`` for ``1000000.0``."""
    return re.sub(r"\d+\.\d+(e[-+]\d+)?", lambda found: f"{float(found[0]):.6g}", text)


def _metrics(system: System[Any, Any]) -> str:
    rows = [
        [m.name, m.unit, "always" if m.level == 0 else "info_level=1", m.description]
        for m in system.metrics
    ]
    return table(rows, header=["name", "unit", "in info", "meaning"])


def _scores(system: System[Any, Any]) -> str:
    rows = [
        [
            s.name,
            s.unit,
            "higher" if s.higher_is_better else "lower",
            f"{s.numerator} / {s.denominator}",
            s.description,
        ]
        for s in system.scores
    ]
    return table(rows, header=["name", "unit", "better", "sums of", "meaning"])


def _baselines(id: str) -> str:
    from sixgym.baselines.policy import load_baselines

    rows = [[b.name, b.kind, b.sees, b.description] for b in load_baselines(id).values()]
    return table(rows, header=["name", "kind", "sees", "what it does"])


def _about(system: System[Any, Any]) -> str:
    """The words of the system's package on what it models and after whom; not its tables."""
    package = type(system).__module__.rpartition(".")[0]
    text = inspect.getdoc(importlib.import_module(package)) if package else None
    paragraphs = (text or "").split("\n\n")
    words = [part for part in paragraphs if "====" not in part]
    return "\n\n".join(textwrap.indent(part, "  ") for part in words)
