"""Training of everything that ships: one job a configuration and seed, resumable, in any order.

A seed's folder says whether it is finished, so the same call again does what is left: finished
seeds are skipped, and those that were cut off continue from their last checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from sixgym.agents.algorithms import ALGORITHMS, CLONING
from sixgym.agents.config import TrainConfig, hint, read
from sixgym.agents.config import shipped as shipped_configs
from sixgym.agents.engine import Engine, Job, run_jobs
from sixgym.envs.core.errors import ConfigError
from sixgym.envs.core.registry import entry

Size = Literal["ships", "full", "smoke"]
"""How long to train: as what ships, longer and with more seeds, or a few updates."""

FULL_STEPS = 10
"""How many times the steps of what ships a full training takes."""
FULL_SEEDS = 5
"""Training seeds of a full training."""

SMOKE_ROWS = 4
SMOKE_STEPS = 8
"""Steps of a row between two updates, and of an episode."""
SMOKE_UPDATES = 3


class Run(NamedTuple):
    """One configuration to train."""

    name: str
    """That it ships under, as ``netgpt/dqn``."""
    config: TrainConfig


class Trained(NamedTuple):
    """How one seed ended."""

    name: str
    """Of the configuration."""
    seed: int
    score: float | None
    """The best policy's headline score on the validation episodes; None where it has none."""
    steps: int
    seconds: float
    """Wall time of the training, over all processes that it took."""
    is_new: bool
    """Whether anything was left to do."""
    error: str | None
    """Why it failed, in one line."""


def plan(
    filters: Sequence[str] = (),
    *,
    envs: Sequence[str] = (),
    algorithms: Sequence[str] = (),
    untuned: bool | None = None,
    size: Size = "ships",
) -> list[Run]:
    """The configurations that some filters choose, sized; all of them without any.

    What ships as YAML but names no environment and algorithm is no training, and is left out.

    Args:
        filters: names, or patterns of names such as ``netgpt/*``; one of them must fit.
        envs: ids, one of which must be trained in.
        algorithms: one of which must learn.
        untuned: only those that are (or are not).
        size: of each training.

    Raises:
        ConfigError: a filter fits nothing, nothing is left, there is no such algorithm, or a
            configuration is malformed.
        UnknownIdError: there is no such id.
    """
    for id in envs:
        entry(id)
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            raise ConfigError(f"algorithm={algorithm!r}: {hint(algorithm, ALGORITHMS)}")
    files = shipped_configs()
    for text in filters:
        if not any(fnmatchcase(name, text) for name in files):
            raise ConfigError(f"{text!r}: no such configuration; {hint(text, files)}")
    chosen = []
    for name in files:
        if filters and not any(fnmatchcase(name, text) for text in filters):
            continue
        raw = read(name, files)
        if not {"env", "algorithm"} <= raw.keys():
            continue
        config = TrainConfig.create(raw)
        if (
            (not envs or config.env in envs)
            and (not algorithms or config.algorithm in algorithms)
            and untuned in (None, config.untuned)
        ):
            chosen.append(Run(name, sized(config, size)))
    if not chosen:
        given = ", ".join([*filters, *envs, *algorithms])
        raise ConfigError(f"no configuration fits all of {given}; sixgym train-zoo --list")
    return chosen


def sized(config: TrainConfig, size: Size) -> TrainConfig:
    """A configuration for a longer training with more seeds, or for a few updates."""
    if size == "ships":
        return config
    raw = config.plain()
    if size == "full":
        raw["total_steps"] *= FULL_STEPS
        raw["seeds"] = list(range(FULL_SEEDS))
        for part in ("evaluation", "checkpoint"):
            raw[part]["every"] *= FULL_STEPS
        return TrainConfig.create(raw)
    is_cloning = config.algorithm == CLONING  # some teachers are slow: two rows, each seen once
    raw["num_envs"] = rows = min(config.num_envs, 2 if is_cloning else SMOKE_ROWS)
    raw["seeds"] = config.seeds[:1]
    limit = raw["env_kwargs"].get("max_episode_steps", SMOKE_STEPS)
    raw["env_kwargs"]["max_episode_steps"] = min(limit, SMOKE_STEPS)
    raw["evaluation"] |= {"every": 0, "episodes": 2, "baselines": []}
    raw["checkpoint"]["every"] = 0
    fields = type(config.hyperparameters).model_fields
    if config.method.on_policy:
        small = {"n_steps": SMOKE_STEPS, "batch_size": rows * SMOKE_STEPS}
    else:
        small = {"buffer_size": 1000, "batch_size": 16, "learning_starts": rows, "train_freq": 1}
        small |= {"gradient_steps": 1}
    small["n_epochs"] = 2
    raw["hyperparameters"] |= {key: value for key, value in small.items() if key in fields}
    updates = 1 if is_cloning else SMOKE_UPDATES
    raw["total_steps"] = updates * SMOKE_STEPS * rows * _seats(config)
    return TrainConfig.create(raw)


def _seats(config: TrainConfig) -> int:
    """How many steps of a training one step of a row counts as."""
    from sixgym.agents.train import make_env

    env = make_env(config, rows=1)
    env.close()
    return int(env.num_envs)


def train_zoo(
    runs: Sequence[Run],
    output: Path,
    *,
    engine: Engine = "local",
    workers: int | None = None,
    wandb: bool = False,
) -> Iterator[Trained]:
    """Train every seed of some configurations that is not finished yet; each as it ends.

    A seed that fails does not stop the others. The output folder must be the same for all workers:
    on several machines one that they share.

    Args:
        runs: see `plan`.
        output: folder of all runs; a configuration's is ``<system>/<algorithm>/<name>`` in it.
        engine: see `sixgym.agents.engine`.
        workers: trainings at a time.
        wandb: also log to Weights & Biases.
    """
    jobs, whose = [], {}
    finished: list[Trained] = []
    for run in runs:
        folder = run_folder(output, run.config).resolve()
        for seed in run.config.seeds:
            done = _finished(run, seed, folder)
            if done is not None:
                finished.append(done)
                continue
            key = f"{run.name} seed {seed}"
            whose[key] = (run, seed, folder)
            args = {
                "config": run.config.plain(),
                "seed": seed,
                "folder": str(folder),
                "wandb": wandb,
            }
            jobs.append(Job(key, "sixgym.agents.train_zoo:train_job", args))
    yield from finished
    for run in runs:
        _draw(run, run_folder(output, run.config), anew=False)
    for end in run_jobs(jobs, engine=engine, workers=workers):
        run, seed, folder = whose[end.key]
        done = _finished(run, seed, folder)
        if end.error is None and done is not None:
            yield done._replace(is_new=True)
            _draw(run, folder, anew=True)
        else:
            reason = end.error or f"{folder}: not on this machine; allowed: a shared folder"
            yield Trained(run.name, seed, None, 0, 0.0, True, reason)


def run_folder(output: Path, config: TrainConfig) -> Path:
    """Where the seeds of a configuration are trained: always the same place."""
    from sixgym.agents.train import system_name

    return output / system_name(config.env) / config.algorithm / config.name


def train_job(config: dict[str, Any], seed: int, folder: str, wandb: bool) -> None:
    """Train one seed, or what is left of it; its progress goes to a log beside its folder.

    Args:
        config: plain content of a `TrainConfig`.
        seed: one of its seeds.
        folder: of the run.
        wandb: also log to Weights & Biases.
    """
    from sixgym.agents.evaluate import play_baselines
    from sixgym.agents.logs import write_json
    from sixgym.agents.runs import torch_threads
    from sixgym.agents.train import check, train_seed

    wanted, run = TrainConfig.create(config), Path(folder)
    check(wanted)
    run.mkdir(parents=True, exist_ok=True)
    log_file = run / f"seed_{seed}.log"
    with log_file.open("a", encoding="utf-8") as log, redirect_stderr(log):
        if not (run / "config.yaml").exists():
            text = yaml.safe_dump(wanted.plain(), sort_keys=False)
            (run / "config.yaml").write_text(text, encoding="utf-8")
        with torch_threads(wanted.threads):
            if not (run / "baselines.json").exists():
                write_json(run / "baselines.json", play_baselines(wanted))
            train_seed(wanted, seed, run, wandb=wandb, resume=True)


def _record(folder: Path, seed: int) -> dict[str, Any]:
    """What a seed's training left of itself; empty if it did not end."""
    from sixgym.agents.records import finished_record

    return finished_record(folder / f"seed_{seed}") or {}


def _finished(run: Run, seed: int, folder: Path) -> Trained | None:
    """A seed that was trained to its end with this very configuration."""
    from sixgym.agents.records import identity

    record = _record(folder, seed)
    if not record:
        return None
    before = TrainConfig.create(record["config"])
    if identity(before, seed) != identity(run.config, seed):
        return None
    score = record["best"].get(entry(run.config.env).load_system().scores[0].name)
    return Trained(run.name, seed, score, record["steps"], record["seconds"], False, None)


def _draw(run: Run, folder: Path, *, anew: bool) -> None:
    """The learning curves of a configuration, once all its seeds are finished."""
    from sixgym.agents.figures import learning_curve
    from sixgym.agents.logs import read_json

    picture = folder / "learning_curve.png"
    records = {seed: _record(folder, seed) for seed in run.config.seeds}
    if not all(records.values()) or (picture.exists() and not anew):
        return
    curves = {seed: record["curve"] for seed, record in records.items()}
    baselines = read_json(folder / "baselines.json")
    score = entry(run.config.env).load_system().scores[0]
    title = f"{run.config.env}, {run.config.algorithm}"
    learning_curve(picture, curves, baselines, score, title)
