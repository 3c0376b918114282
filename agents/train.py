"""Training by Stable-Baselines3 from a configuration: one run a seed, resumable exactly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sixgym.agents import checkpoint
from sixgym.agents.algorithms import CLONING, HYBRID, linear
from sixgym.agents.callbacks import Boundary, EntropySchedule
from sixgym.agents.cloning_run import clone_seed
from sixgym.agents.config import TrainConfig
from sixgym.agents.demonstrations import check_teacher
from sixgym.agents.evaluate import Evaluator, play_baselines
from sixgym.agents.export import begin_with
from sixgym.agents.figures import learning_curve
from sixgym.agents.hybrid import hybrid_sizes
from sixgym.agents.logs import (
    CsvTable,
    TensorBoardLog,
    make_logger,
    now,
    write_json,
)
from sixgym.agents.policies import ACTIVATIONS
from sixgym.agents.records import RunResult as RunResult
from sixgym.agents.records import (
    check_same,
    identity,
    policy_writer,
    progress_bar,
    reporter,
)
from sixgym.agents.runs import folders, locked, new_folder, origin, torch_threads
from sixgym.agents.tracking import tracked
from sixgym.baselines.policy import baseline
from sixgym.envs.core.errors import ConfigError
from sixgym.envs.core.make import device_of
from sixgym.envs.core.registry import entry

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv


def train_from_config(
    name_or_path: str | Path,
    overrides: Sequence[str] = (),
    wandb: bool = False,
    resume: bool = False,
    output: Path | None = None,
) -> list[RunResult]:
    """Train every seed of a configuration.

    Args:
        name_or_path: a YAML file or a shipped name (``ris_noma/ppo``).
        overrides: ``a.b=value`` each, the value in YAML.
        wandb: also log to Weights & Biases.
        resume: continue the newest run of this name from its last checkpoints.
        output: replaces the configuration's folder of all runs.

    Raises:
        ConfigError: the configuration is malformed, or there is nothing to resume.
        CheckpointError: a checkpoint is damaged or belongs to another configuration.
    """
    config = TrainConfig.load(name_or_path, overrides)
    return train(config, wandb=wandb, resume=resume, output=output)


def train(
    config: TrainConfig, *, wandb: bool = False, resume: bool = False, output: Path | None = None
) -> list[RunResult]:
    """Train every seed of a configuration; see `train_from_config`."""
    check(config)
    folder = run_folder(config, output, resume=resume)
    with locked(folder), torch_threads(config.threads):
        return _train_seeds(config, folder, wandb=wandb, resume=resume)


def _train_seeds(
    config: TrainConfig, folder: Path, *, wandb: bool, resume: bool
) -> list[RunResult]:
    if not resume:
        text = yaml.safe_dump(config.plain(), sort_keys=False)
        (folder / "config.yaml").write_text(text, encoding="utf-8")
    baselines = play_baselines(config)
    write_json(folder / "baselines.json", baselines)
    results: list[RunResult] = []
    for seed in config.seeds:
        results.append(train_seed(config, seed, folder, wandb=wandb, resume=resume))
        curves = {r.seed: r.curve for r in results}
        title = f"{config.env}, {config.algorithm}"
        learning_curve(results[0].figure, curves, baselines, results[0].score, title)
    return results


def run_folder(config: TrainConfig, output: Path | None = None, *, resume: bool = False) -> Path:
    """The folder of a run: ``<output>/<system>/<algorithm>/<name>``, ``-2`` and so on if taken.

    A new run's folder is made here, so that two that start together do not get the same one.

    Raises:
        ConfigError: ``resume`` and there is no such run.
    """
    root = Path(config.output) if output is None else output
    parent = root / system_name(config.env) / config.algorithm
    if resume:
        taken = list(itertools.takewhile(Path.exists, folders(parent, config.name)))
        if not taken:
            raise ConfigError(f"resume: no run {parent / config.name}")
        return taken[-1]
    return new_folder(parent, config.name)


def system_name(env: str) -> str:
    """Short name of an environment's system: its package in the suite, else the id's own name.

    Raises:
        UnknownIdError: no such id.
    """
    module = entry(env).system.partition(":")[0]
    if module.startswith("sixgym.envs."):
        return module.split(".")[2]
    return env.rpartition("/")[2].rpartition("-v")[0].lower()


def check(config: TrainConfig) -> None:
    """Refuse what the environment and the algorithm cannot do together, before anything is built.

    Raises:
        ConfigError: the algorithm cannot act in the action space, or the policy not read the
            observation space.
        ParamsError: a parameter of the environment is wrong.
        UnknownIdError: there is no such environment, preset or baseline.
    """
    if config.device != "auto":
        device_of(config.device)
    env = make_env(config, rows=1)
    action, observation = env.action_space, env.observation_space
    env.close()
    kind = type(action).__name__
    if kind not in config.method.actions:
        allowed = ", ".join(config.method.actions)
        raise ConfigError(
            f"algorithm={config.algorithm!r}: acts in {allowed}; {config.env} has {action}"
        )
    is_dict = type(observation).__name__ == "Dict"
    takes_dict = config.policy.startswith("MultiInput") or config.policy == HYBRID
    if config.method.head != "team" and is_dict != takes_dict:
        fitting = [
            p
            for p in config.method.policies
            if (p.startswith("MultiInput") or p == HYBRID) == is_dict
        ]
        raise ConfigError(
            f"policy={config.policy!r}: allowed for the observations of {config.env}: "
            f"{', '.join(fitting)}"
        )
    if config.policy == HYBRID:
        hybrid_sizes(observation, action)
    if config.algorithm == CLONING:
        check_teacher(config)
    for name in config.evaluation.baselines:
        baseline(config.env, name)


def make_env(config: TrainConfig, rows: int | None = None) -> VecEnv:
    """The training rows, normalised if the configuration says so.

    Raises:
        ConfigError: observations that are no Box cannot be normalised.
        OptionsError: a policy is to be shared and the environment is not a game of one group.
    """
    from stable_baselines3.common.vec_env import VecNormalize

    from sixgym.agents.team.registry import notes_of
    from sixgym.envs.core.multiagent_sb3 import make_multiagent_vec_env
    from sixgym.envs.core.sb3_view import make_vec_env
    from sixgym.envs.core.team_sb3 import make_team_vec_env

    kwargs: dict[str, Any] = {"preset": config.preset, **config.env_kwargs}
    rows = config.num_envs if rows is None else rows
    env: VecEnv
    if config.method.head == "team":
        network = config.hyperparameters.policy_kwargs  # type: ignore[attr-defined]
        env = make_team_vec_env(
            config.env,
            rows,
            world="train",
            finite_horizon=config.finite_horizon,
            notes=notes_of(config.env, network.net, network.sizes, kwargs),
            **kwargs,
        )
    elif config.shared:
        env = make_multiagent_vec_env(config.env, rows, world="train", **kwargs)
    else:
        env = make_vec_env(
            config.env, rows, world="train", finite_horizon=config.finite_horizon, **kwargs
        )
    wanted = config.normalize
    space = env.observation_space
    parts = getattr(space, "spaces", {"": space}).values()
    if wanted.observation and any(type(part).__name__ != "Box" for part in parts):
        raise ConfigError(
            f"normalize.observation=True: allowed for Box observations; {config.env} has {space}"
        )
    if not (wanted.observation or wanted.reward):
        return env
    return VecNormalize(
        env,
        norm_obs=wanted.observation,
        norm_reward=wanted.reward,
        clip_obs=wanted.clip_observation,
        clip_reward=wanted.clip_reward,
        gamma=getattr(config.hyperparameters, "gamma", 1.0),  # of rewards, which a student ignores
    )


def make_model(config: TrainConfig, seed: int, env: VecEnv) -> BaseAlgorithm:
    """A fresh model; its seed also selects the rows' block of worlds."""
    from stable_baselines3.common.noise import NormalActionNoise
    from stable_baselines3.common.utils import LinearSchedule

    chosen = config.chosen
    network = chosen.pop("policy_kwargs", {})
    network |= network.pop("sizes", {})
    if "activation_fn" in network:
        network["activation_fn"] = ACTIVATIONS[network["activation_fn"]]
    for key in ("learning_rate", "clip_range", "clip_range_vf"):
        if isinstance(chosen.get(key), str | list):
            chosen[key] = LinearSchedule(*linear(chosen[key]), end_fraction=1.0)
    if isinstance(chosen.get("ent_coef"), list):
        chosen["ent_coef"] = linear(chosen["ent_coef"])[0]
    if "mixing" in chosen:
        chosen["mixing"] = config.hyperparameters.mixing  # type: ignore[attr-defined]
    noise, deviation = chosen.pop("noise_type", None), chosen.pop("noise_std", 0.1)
    if noise is not None:
        import numpy as np

        shape = env.action_space.shape or ()
        chosen["action_noise"] = NormalActionNoise(np.zeros(shape), np.full(shape, deviation))
    model: BaseAlgorithm = config.method.load()(
        config.method.load_policy(config.policy),
        env,
        policy_kwargs=network,
        seed=seed,
        device=config.device,
        **chosen,
    )
    if config.start is not None:
        begin_with(model, config.start, seed)
    return model


def train_seed(
    config: TrainConfig, seed: int, run: Path, *, wandb: bool = False, resume: bool = False
) -> RunResult:
    """Train one seed of a configuration, without its share of the run's folder (see `train`).

    Args:
        config: checked by `check`.
        seed: of the training.
        run: the run's folder; the seed's is made in it.
        wandb: also log to Weights & Biases.
        resume: continue from the seed's last checkpoint, if it has one.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another configuration.
    """
    train_one = clone_seed if config.algorithm == CLONING else _train_seed
    return train_one(config, seed, run, wandb=wandb, resume=resume)


def _train_seed(
    config: TrainConfig, seed: int, run: Path, *, wandb: bool, resume: bool
) -> RunResult:
    folder = run / f"seed_{seed}"
    saved = _last_checkpoint(config, seed, folder) if resume else None
    step = -1 if saved is None else int(saved.values["num_timesteps"])
    record = {
        **origin(config.plain(), seed),
        "started": now(),
        "resumed_from": max(step, 0),
    }
    write_json(folder / "run.json", {**record, "finished": None})
    with ExitStack() as stack:
        extra: list[BaseCallback] = []
        place: Path | None = None
        if wandb:
            title = f"{config.name}-seed{seed}"
            callback, place = stack.enter_context(
                tracked(folder, name=title, group=config.name, config=config.plain())
            )
            extra.append(callback)
        env = make_env(config)
        stack.callback(env.close)
        evaluator = Evaluator(config)
        stack.callback(evaluator.close)
        board = TensorBoardLog(folder / "tensorboard", keep_until=step)
        stack.callback(board.close)
        model = make_model(config, seed, env)
        model.set_logger(make_logger(CsvTable(folder / "progress.csv", keep_until=step), board))
        bar = stack.enter_context(progress_bar(config, seed, max(step, 0)))
        boundary = Boundary(
            folder=folder / "checkpoints",
            identity=identity(config, seed),
            evaluator=evaluator,
            save_policy=policy_writer(config, seed, folder, record),
            table=CsvTable(folder / "evaluations.csv", keep_until=step),
            board=board,
            evaluate_every=config.evaluation.every,
            save_every=config.checkpoint.every,
            saved=saved,
            report=reporter(bar, evaluator.headline.name),
        )
        if isinstance(config.chosen.get("ent_coef"), list):
            extra.append(EntropySchedule(*linear(config.chosen["ent_coef"])))
        if step < config.total_steps:
            model.learn(
                config.total_steps,
                callback=[boundary, *extra],
                log_interval=1 if config.method.on_policy else max(4, config.num_envs),
            )
            step = model.num_timesteps
    assert boundary.best is not None
    result = RunResult(
        seed=seed,
        folder=folder,
        steps=step,
        seconds=boundary.seconds,
        curve=boundary.curve,
        best=boundary.best,
        policy=folder / "policies" / "best.safetensors",
        figure=run / "learning_curve.png",
        wandb=place,
        score=evaluator.headline,
    )
    summary = {"steps": step, "seconds": round(result.seconds, 3), "best": result.best}
    write_json(folder / "run.json", {**record, "finished": now(), **summary, "curve": result.curve})
    return result


def _last_checkpoint(config: TrainConfig, seed: int, folder: Path) -> checkpoint.Snapshot | None:
    """The checkpoint to go on from; None if this seed was not begun.

    Raises:
        CheckpointError: it is damaged, or was written with another configuration.
    """
    place = folder / "checkpoints"
    if not (place / "last.json").exists():
        return None
    found = checkpoint.read(place, "last")
    check_same(place / "last.json", found.values.get("identity", {}), config, seed)
    return found
