"""Offline datasets: what a policy saw, did and earned, in the form of Minari (extra ``minari``).

The episodes are played as every evaluation plays them, by rows of a batch. Each is stored with the
row seed from which it can be replayed in the single environment: ``reset(seed=...)`` and the stored
actions give the stored rewards again, to rounding.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Policy, rollout
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard.players import Player, find_player, kwargs_of
from sixgym.leaderboard.runner import ROWS, make_rows, task_of, versions

if TYPE_CHECKING:
    from minari import MinariDataset
    from minari.data_collector.episode_buffer import EpisodeBuffer

    from sixgym.envs.core.vector_view import SixgymVectorEnv

FOLDER_VARIABLE = "MINARI_DATASETS_PATH"
"""Where Minari looks for datasets."""
FOLDER = Path("runs/datasets")
"""Where they are written unless the variable or an argument says otherwise."""


class Written(NamedTuple):
    """A dataset that was written."""

    id: str
    folder: Path
    """Of all datasets: the value of `FOLDER_VARIABLE` with which Minari finds it."""
    steps: int


def write_dataset(
    id: str,
    policy: str | Policy = "random",
    *,
    episodes: int,
    folder: Path | None = None,
    name: str | None = None,
    seed: int | None = None,
    deterministic: bool = True,
    rows: int = ROWS,
    params: Mapping[str, Any] | None = None,
) -> Written:
    """Play episodes and write them.

    Args:
        id: registered environment.
        policy: as of `sixgym.leaderboard.players.find_player`; of several training seeds the first
            plays.
        episodes: how many.
        folder: of all datasets; by default what the environment variable says, else `FOLDER`.
        name: Minari's name of the dataset, ``namespace/name-vN``; by default
            ``<id without version>/<policy>-v0``.
        seed: row seed of the first episode; by default that of the training world, which no
            evaluation meets.
        deterministic: the policy's best action rather than a sample.
        rows: episodes side by side.
        params: parameters of the environment.

    Raises:
        OptionsError: the name is not Minari's, or taken; the environment has no single one that
            Minari could make again.
        UnknownIdError: no such environment or policy.
    """
    import minari  # noqa: F401  (told before anything is played)

    player = find_player(id, policy)
    task = task_of(id, episodes=episodes, seed=seed, params=params)
    kwargs = kwargs_of(player, task)
    acts_in = player.card.env_id
    spec = _spec(acts_in, kwargs)
    where = _folder(folder)
    chosen = name or default_name(acts_in, player.card.name)
    _check_name(chosen, where)
    first = row_seed("train", 0) if seed is None else seed
    env = make_rows(acts_in, min(rows, episodes), kwargs)
    recorder = Recorder(env)
    try:
        member = player.members[0]
        rollout(
            cast("SixgymVectorEnv", recorder),
            member.make(env.system),
            first + np.arange(episodes, dtype=np.int64),
            deterministic=deterministic and member.deterministic,
        )
    finally:
        env.close()
    buffers = recorder.episodes(episodes)
    try:
        _store(chosen, where, spec, buffers, player)
    except BaseException:
        shutil.rmtree(where / chosen, ignore_errors=True)  # half a dataset is none
        raise
    return Written(chosen, where, sum(len(buffer) for buffer in buffers))


def default_name(id: str, policy: str) -> str:
    """Minari's name of a dataset of a policy in an environment."""
    space, _, env = id.rpartition("/")
    parts = [re.sub(r"-v\d+$", "", env), f"{_word(policy)}-v0"]
    return "/".join([space, *parts] if space else parts)


def _word(text: str) -> str:
    """A text with only what Minari allows in a name."""
    return re.sub(r"[^\w-]+", "-", Path(text).stem).strip("-") or "policy"


def _folder(folder: Path | None) -> Path:
    # Minari reads a relative one against the dataset itself in some places.
    return (folder or Path(os.environ.get(FOLDER_VARIABLE) or FOLDER)).absolute()


def _check_name(name: str, folder: Path) -> None:
    if not re.fullmatch(r"[\w-]+(/[\w-]+)*-v\d+", name):
        raise OptionsError(f"name={name!r}: allowed: namespace/name-vN")
    if (folder / name).exists():
        raise OptionsError(f"{folder / name}: exists already; allowed: another --name")


def _spec(id: str, kwargs: Mapping[str, Any]) -> gym.envs.registration.EnvSpec:
    """What makes the single environment again.

    Raises:
        OptionsError: there is no such thing.
    """
    if entry(id).library == "pettingzoo":
        raise OptionsError(f"{id}: a PettingZoo environment; allowed: one of Gymnasium's")
    env = gym.make(id, disable_env_checker=True, **kwargs)
    spec, space = env.spec, env.observation_space
    env.close()
    if spec is None or isinstance(space, gym.spaces.Tuple):
        raise OptionsError(f"{id}: observations in {type(space).__name__}; allowed: Box, Dict, ...")
    return spec


class Recorder:
    """Stands before a vector environment in a rollout and keeps all that passes.

    Args:
        env: rows of ours or of a guest.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self._batches: list[tuple[list[int], Any, list[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def reset(self, *, seed: list[int]) -> tuple[Any, dict[str, Any]]:
        """Begin a batch of episodes."""
        observation, infos = self._env.reset(seed=seed)
        self._batches.append((seed, observation, []))
        return observation, infos

    def step(self, actions: Any) -> tuple[Any, ...]:
        """Step it and keep what was told."""
        told = self._env.step(actions)
        kept = {name: told[4][name] for name in self._env.rows.metric_names}
        self._batches[-1][2].append((actions, *told[:4], kept))
        return cast("tuple[Any, ...]", told)

    def episodes(self, count: int) -> list[EpisodeBuffer]:
        """The first episodes, in the order of their seeds, each up to its end."""
        batches = (self._of_batch(*batch) for batch in self._batches)
        return [episode for batch in batches for episode in batch][:count]

    def _of_batch(self, seeds: list[int], first: Any, steps: list[Any]) -> Iterator[EpisodeBuffer]:
        """The episodes of one batch, one a row."""
        from minari.data_collector.episode_buffer import EpisodeBuffer

        actions, observations, *flows, metrics = zip(*steps, strict=True)
        system = self._env.system
        seen = _stacked(system.observation_space, [first, *observations])
        done = _stacked(system.action_space, actions)
        reward, terminated, truncated = (np.stack(flow) for flow in flows)
        infos = {
            name: np.stack([np.zeros(len(seeds)), *(step[name] for step in metrics)])
            for name in self._env.rows.metric_names
        }
        length = (terminated | truncated).argmax(axis=0) + 1
        for row, (seed, end) in enumerate(zip(seeds, length.tolist(), strict=True)):
            yield EpisodeBuffer(
                seed=int(seed),
                observations=_part(seen, end + 1, row),
                actions=_part(done, end, row),
                rewards=reward[:end, row].astype(np.float64),
                terminations=terminated[:end, row],
                truncations=truncated[:end, row],
                infos=_part(infos, end + 1, row),
            )


def _stacked(space: gym.Space[Any], batches: Sequence[Any]) -> Any:
    """Batches of all steps as arrays (steps, rows, ...) in the types of the space."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _stacked(part, [b[key] for b in batches]) for key, part in space.items()}
    return np.stack([np.asarray(batch).astype(space.dtype) for batch in batches])


def _part(arrays: Any, steps: int, row: int) -> Any:
    """The first steps of a row."""
    if isinstance(arrays, dict):
        return {key: _part(value, steps, row) for key, value in arrays.items()}
    return arrays[:steps, row]


def _store(
    name: str,
    folder: Path,
    spec: gym.envs.registration.EnvSpec,
    buffers: list[EpisodeBuffer],
    player: Player,
) -> None:
    import minari

    card = player.card
    seeds = [buffer.seed for buffer in buffers]
    # Exact pictures; Minari 0.5.3 has no others and does not know the argument.
    known = inspect.signature(minari.create_dataset_from_buffers).parameters
    exact: dict[str, Any] = {"jpeg_encoding": False} if "jpeg_encoding" in known else {}
    with found_in(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of authors and links that we do not know
        dataset = minari.create_dataset_from_buffers(
            name,
            buffers,
            env=spec,
            algorithm_name=card.name,
            description=f"{len(seeds)} episodes of {spec.id} by {card.name} ({card.description}), "
            f"which sees {card.sees}; row seeds {seeds[0]} to {seeds[-1]}.",
            **exact,
        )
        weights = player.members[0].weights
        told = {f"sixgym_{key}": value for key, value in versions().items()}
        dataset.storage.update_metadata({**told, "sixgym_weights": weights})


@contextmanager
def found_in(folder: Path) -> Iterator[None]:
    """Let Minari look for datasets in a folder for a while."""
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


def load(written: Written) -> MinariDataset:
    """The dataset as Minari loads it."""
    import minari

    with found_in(written.folder):
        return minari.load_dataset(written.id)


def replay(dataset: MinariDataset, episodes: int | None = None) -> float:
    """Play episodes again in the environment that the dataset names.

    Args:
        dataset: of `load`, or of Minari.
        episodes: how many, from the first on; None for all.

    Returns:
        The largest difference between a stored and a replayed reward, relative where it exceeds 1.

    Raises:
        OptionsError: an episode ends at another step.
    """
    env = dataset.recover_environment()
    chosen = dataset.episode_indices[:episodes]
    worst = 0.0
    metadata = dataset.storage.get_episode_metadata(chosen)
    for told, kept in zip(metadata, dataset.iterate_episodes(chosen), strict=True):
        env.reset(seed=int(told["seed"]))
        for t in range(len(kept.rewards)):
            action = _taken(env.action_space, kept.actions, t)
            _, reward, terminated, truncated, _ = env.step(action)
            flags = (bool(kept.terminations[t]), bool(kept.truncations[t]))
            if (bool(terminated), bool(truncated)) != flags:
                raise OptionsError(f"episode {kept.id}, step {t}: it does not end as it was stored")
            want = float(kept.rewards[t])
            worst = max(worst, abs(float(reward) - want) / max(1.0, abs(want)))
    env.close()
    return worst


def _taken(space: gym.Space[Any], actions: Any, time: int) -> Any:
    """The stored action of a step."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _taken(part, actions[key], time) for key, part in space.items()}
    value: NDArray[Any] = actions[time]
    return int(value) if isinstance(space, gym.spaces.Discrete) else value
