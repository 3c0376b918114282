"""What a run of one seed is known by: its result, the configuration it belongs to, its cards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm  # type: ignore[import-untyped]

from sixgym.agents.config import TrainConfig
from sixgym.agents.evaluate import Point
from sixgym.agents.logs import read_json
from sixgym.agents.policies import save_policy
from sixgym.envs.core.errors import CheckpointError
from sixgym.envs.core.system import Score

if TYPE_CHECKING:
    from sixgym.agents.policies import AnyPolicy

IDENTITY = (
    "env",
    "preset",
    "env_kwargs",
    "algorithm",
    "policy",
    "shared",
    "start",
    "hyperparameters",
    "num_envs",
    "total_steps",
    "finite_horizon",
    "normalize",
    "evaluation",
    "device",
    "threads",
)
"""Fields that must be the same for a checkpoint to be continued: all that decide its numbers
(the baselines of ``evaluation`` do not)."""


TOLD = ("config", "seed", "versions", "commit", "imitates")
"""What a card repeats of the run's record; not all records have all of it."""


RESULT = {"config": dict, "best": dict, "curve": list, "steps": int, "seconds": int | float}
"""What the record of a finished run has, beside its ``seed``, and of which type."""


class RunResult(NamedTuple):
    """One finished training of one seed."""

    seed: int
    folder: Path
    """``run.json``, ``progress.csv``, ``evaluations.csv``, checkpoints, policies, tensorboard."""
    steps: int
    seconds: float
    """Wall time, over all processes that it took."""
    curve: list[Point]
    """Every evaluation on the validation episodes."""
    best: Point
    """The evaluation of the best policy by the headline score."""
    policy: Path
    """Weights of the best policy; its card is beside them."""
    figure: Path
    """The learning curve of all seeds of the run."""
    wandb: Path | None
    """Folder of the W&B run."""
    score: Score
    """The headline score that ``best`` is the best by."""


def identity(config: TrainConfig, seed: int) -> dict[str, Any]:
    """What decides the numbers of one seed, by field; the baselines drawn beside do not."""
    plain = config.plain()
    del plain["evaluation"]["baselines"]
    return {"seed": seed} | {key: plain[key] for key in IDENTITY}


def finished_record(folder: Path) -> dict[str, Any] | None:
    """The record ``run.json`` of a seed's folder, if its training has ended; else None.

    Raises:
        CheckpointError: the file is truncated or altered: no JSON, or without what a record has.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    record = read_json(path)
    if not isinstance(record, dict):
        raise CheckpointError(f"{path}: not the record of a run; allowed: a JSON object")
    if not record.get("finished"):
        return None
    for name, kind in RESULT.items():
        if not isinstance(record.get(name), kind):
            raise CheckpointError(f"{path}: {name}={record.get(name)!r}: not the record of a run")
    return record


def check_same(path: Path, written: Mapping[str, Any], config: TrainConfig, seed: int) -> None:
    """Refuse to go on with what another configuration wrote.

    Raises:
        CheckpointError: a field is not the same.
    """
    for key, value in identity(config, seed).items():
        if written.get(key) != value:
            raise CheckpointError(
                f"{path}: written with {key}={written.get(key)!r}; this configuration has {value!r}"
            )


def policy_writer(
    config: TrainConfig, seed: int, folder: Path, record: dict[str, Any]
) -> Callable[[AnyPolicy, str, Point], None]:
    """Writes exported policies with a card that says where they come from."""

    def write(policy: AnyPolicy, name: str, point: Point) -> None:
        about = {
            "name": f"{config.name}/{seed}",
            "algorithm": config.algorithm,
            "validation": point,
            **{key: record[key] for key in TOLD if key in record},
        }
        kwargs = {**config.env_kwargs, "preset": config.preset}
        save_policy(
            policy, folder / "policies" / name, env=config.env, env_kwargs=kwargs, about=about
        )

    return write


def progress_bar(config: TrainConfig, seed: int, initial: int) -> Any:
    """The progress bar; on a terminal it moves, in a log file it writes a line now and then."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=config.total_steps,
        initial=initial,
        desc=f"{config.name} seed {seed}",
        unit="step",
        unit_scale=True,
        mininterval=interval,
        dynamic_ncols=True,
    )


def reporter(bar: Any, headline: str) -> Callable[[int, float | None], None]:
    """Tells a progress bar the steps done and the headline score."""

    def report(step: int, score: float | None) -> None:
        if score is not None:
            bar.set_postfix_str(f"{headline} {score:.4g}", refresh=False)
        bar.update(step - bar.n)

    return report
