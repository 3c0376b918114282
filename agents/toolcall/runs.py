"""From one YAML to a trained edge agent: supervised start, buffer, improvement, curve and card."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from tqdm import tqdm  # type: ignore[import-untyped]

from sixgym.agents.logs import CsvTable, now, write_json
from sixgym.agents.runs import new_folder, origin, torch_threads
from sixgym.agents.toolcall.config import RunConfig, ToolcallConfig
from sixgym.agents.toolcall.figure import draw_curves
from sixgym.agents.toolcall.files import load_edge, save, shipped_edge
from sixgym.agents.toolcall.grading import Examiner, Report, Scores
from sixgym.agents.toolcall.improve import Buffer, Improver, Progress, collect
from sixgym.agents.toolcall.model import RewardNet, ToolNet
from sixgym.agents.toolcall.reward_model import train_reward_model
from sixgym.agents.toolcall.scorer import features_of, fit_scorer
from sixgym.agents.toolcall.sft import sft_data, train_sft


class RunResult(NamedTuple):
    """One finished run of one seed."""

    seed: int
    folder: Path
    """``run.json``, ``curve.csv``, ``scorer.json``, ``sft`` and ``edge`` with their cards."""
    start: Report
    """The supervised start on the frozen sets."""
    end: Report
    """The improved agent."""
    curve: list[tuple[int, Report]]
    """Every evaluation, by the iterations done."""
    seconds: float
    """Wall time."""
    figure: Path
    """The curves of all seeds of the run."""


def run_from_config(
    name_or_path: str | Path, overrides: Sequence[str] = (), output: Path | None = None
) -> list[RunResult]:
    """Run every seed of a configuration.

    Args:
        name_or_path: a YAML file or a recipe (``default``).
        overrides: ``a.b=value`` each, the value in YAML.
        output: replaces the configuration's folder of all runs.

    Raises:
        ConfigError: the configuration is malformed.
        PolicyError: the supervised start that it names cannot be read.
    """
    return run(ToolcallConfig.load(name_or_path, overrides), output)


def run(config: ToolcallConfig, output: Path | None = None) -> list[RunResult]:
    """Run every seed of a configuration; see `run_from_config`."""
    folder = run_folder(config, output, "toolcall")
    results: list[RunResult] = []
    with torch_threads(config.threads):
        for seed in config.seeds:
            results.append(_run_seed(config, seed, folder / f"seed_{seed}"))
            curves = {r.seed: r.curve for r in results}
            draw_curves(results[0].figure, curves, config.name)
    return results


def told(results: Sequence[RunResult]) -> list[str]:
    """What a terminal shows of runs, line by line."""
    lines = []
    for result in results:
        lines.append(f"seed {result.seed}: {result.folder}, {result.seconds:.0f} s")
        for name, report in (("start", result.start), ("end", result.end)):
            numbers = ", ".join(f"{k} {v:.3f}" for k, v in report._asdict().items())
            lines.append(f"  {name}: {numbers}")
    return [*lines, f"curves: {results[-1].figure}"]


def run_folder(config: RunConfig, output: Path | None, kind: str) -> Path:
    """A new ``<output>/<kind>/<name>`` with the configuration in it."""
    folder = new_folder((Path(config.output) if output is None else output) / kind, config.name)
    text = yaml.safe_dump(config.plain(), sort_keys=False)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder


def _run_seed(config: ToolcallConfig, seed: int, folder: Path) -> RunResult:
    began = time.monotonic()
    about = origin(config.plain(), seed)
    record = {**about, "started": now()}
    write_json(folder / "run.json", {**record, "finished": None})

    start = supervised_start(config, config.start, seed)
    examiner = Examiner(config.evaluation, start)
    before = examiner.report(start)
    save(start, folder / "sft", {**about, "report": before._asdict()})

    buffer = collect(start, config.buffer, seed)
    scores = _fit_scorer(start, buffer, examiner, folder)
    reward_model = _reward_model(config, start, buffer, seed)
    if reward_model is not None:
        save(reward_model, folder / "reward", about)

    net = copy.deepcopy(start)
    improver = Improver(net, start, sft_data(config.sft, seed), config.improve, seed, reward_model)
    table = CsvTable(folder / "curve.csv")
    table.add(0, before._asdict())
    curve = [(0, before), *_improve(config, seed, improver, buffer, examiner, table)]
    end = curve[-1][1]
    save(net, folder / "edge", {**about, "report": end._asdict(), "sft_report": before._asdict()})

    seconds = time.monotonic() - began
    bins = {"start": examiner.by_difficulty(start), "end": examiner.by_difficulty(net)}
    done = {
        "finished": now(),
        "seconds": round(seconds, 1),
        "success_by_difficulty": bins,
        "scorer": scores and scores._asdict(),
    }
    reports = {"start": before._asdict(), "end": end._asdict()}
    write_json(folder / "run.json", {**record, **done, **reports})
    figure = folder.parent / "curve.png"
    return RunResult(seed, folder, before, end, curve, seconds, figure)


def supervised_start(config: RunConfig, start: str | None, seed: int) -> ToolNet:
    """The supervised start: trained if ``start`` is None, or read from where it says."""
    if start == "shipped":
        return shipped_edge("sft")
    if start is not None:
        return load_edge(start.replace("{seed}", str(seed)))
    with progress_bar(config.sft.steps, f"{config.name} seed {seed}: supervised") as bar:
        return train_sft(config.sft, seed, _teller(bar))


def _fit_scorer(net: ToolNet, buffer: Buffer, examiner: Examiner, folder: Path) -> Scores | None:
    """Write the router's scorer of an agent's drafts; None where all of them are right or wrong."""
    label = buffer.agrees
    if len(set(label)) < 2:
        return None
    scorer = fit_scorer(features_of(buffer.draft), label)
    write_json(folder / "scorer.json", scorer.model_dump(mode="json"))
    return examiner.score(net, scorer)


def _reward_model(
    config: ToolcallConfig, start: ToolNet, buffer: Buffer, seed: int
) -> RewardNet | None:
    if config.improve.reward != "rm":
        return None
    settings = config.reward_model
    with progress_bar(settings.steps, f"{config.name} seed {seed}: reward model") as bar:
        return train_reward_model(
            settings, start, buffer.prompt, buffer.cloud, buffer.draft.token, seed, _teller(bar)
        )


def _improve(
    config: ToolcallConfig,
    seed: int,
    improver: Improver,
    buffer: Buffer,
    examiner: Examiner,
    table: CsvTable,
) -> list[tuple[int, Report]]:
    """All iterations; the evaluations, the last one after the last iteration."""
    total, every = config.improve.iterations, config.evaluation.every
    curve: list[tuple[int, Report]] = []
    recent: list[Progress] = []
    with progress_bar(total, f"{config.name} seed {seed}: improvement") as bar:
        for step in range(1, total + 1):
            recent.append(improver.iterate(buffer))
            bar.update()
            if step == total or (every and step % every == 0):
                report = examiner.report(improver.net)
                curve.append((step, report))
                table.add(step, {**report._asdict(), **_means(recent)})
                recent.clear()
                told = f"hard {report.hard_success:.3f} easy {report.easy_success:.3f}"
                bar.set_postfix_str(told)
    return curve


def _means(progress: Sequence[Progress]) -> dict[str, float | None]:
    """Mean of each number since the last evaluation; None for what was not measured."""
    names = Progress._fields
    means = [sum(column) / len(progress) for column in zip(*progress, strict=True)]
    return {n: None if math.isnan(m) else m for n, m in zip(names, means, strict=True)}


def progress_bar(total: int, title: str) -> Any:
    """A progress bar; on a terminal it moves, in a log file it writes a line now and then."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, desc=title, unit="step", mininterval=interval, dynamic_ncols=True)


def _teller(bar: Any) -> Any:
    def tell(step: int, loss: float) -> None:
        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        bar.update(step - bar.n)

    return tell
