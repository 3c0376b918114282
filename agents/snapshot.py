"""The state of a Stable-Baselines3 training as plain data, and back: nothing may be forgotten.

`take` and `restore` are called at the same point of SB3's loop (the start of a rollout), with a
model and an environment that were built alike. What is copied is everything that the next step
depends on: networks, optimisers, learned coefficients, counters, the rows, the last observations,
normalisation, replay buffer, pending log values, and every random state. `restore` fills live
objects in place, because optimisers and SB3's own local variables hold references to them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sixgym.agents.checkpoint import Snapshot
from sixgym.envs.core.errors import CheckpointError, StateError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.buffers import ReplayBuffer

Tensors = dict[str, Tensor]

COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
    "ent_coef",
)
"""Scalars of a model that change while it learns; each is saved where the model has it."""

LAST = ("_last_obs", "_last_original_obs", "_last_episode_starts")
REPLAY = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def take(model: BaseAlgorithm, *, replay: bool = True) -> Snapshot:
    """Everything that the rest of a training depends on.

    Args:
        model: between two rollouts.
        replay: whether to include the replay buffer, the largest part by far.
    """
    tensors: Tensors = {}
    values: dict[str, Any] = {"model": type(model).__name__}
    values |= {k: _plain(v) for k in COUNTERS if _is_number(v := getattr(model, k, None))}
    networks, variables = model._get_torch_save_params()
    for name in networks:
        part = attrgetter(name)(model)
        if isinstance(part, torch.optim.Optimizer):
            values[f"optimizer {name}"], moments = _take_optimizer(part)
            tensors |= _prefixed(f"optimizer/{name}", moments)
        else:
            tensors |= _prefixed(f"network/{name}", part.state_dict())
    tensors |= {f"variable/{name}": attrgetter(name)(model) for name in variables}
    for name in LAST:
        tensors |= _prefixed(name, _as_tensors(getattr(model, name)))
    for i, state in enumerate(_recurrent(model)):
        tensors[f"recurrent/{i}"] = state
    tensors |= _prefixed("rows", base_env(model).state_dict())
    _take_normalizer(model, tensors, values)
    if replay and (buffer := getattr(model, "replay_buffer", None)) is not None:
        values["replay"] = {"pos": buffer.pos, "full": buffer.full}
        for name, array in _replay_arrays(buffer).items():
            tensors[f"replay/{name}"] = torch.as_tensor(array[: buffer.size()])
    _take_log(model, values)
    _take_random(model, tensors, values)
    return Snapshot(tensors, values)


def restore(model: BaseAlgorithm, snapshot: Snapshot, where: str) -> None:
    """Put a model and its environment into a saved state.

    Args:
        model: built by the same configuration, at the point of the loop where `take` was called.
        snapshot: what `take` returned.
        where: the file, for error messages.

    Raises:
        CheckpointError: the snapshot belongs to something else.
    """
    try:
        _restore(model, snapshot.tensors, snapshot.values)
    except KeyError as error:
        raise CheckpointError(f"{where}: {error.args[0]!r} is missing") from None
    except (RuntimeError, ValueError, TypeError, StateError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{where}: belongs to something else: {reason}") from None


def _restore(model: BaseAlgorithm, tensors: Tensors, values: dict[str, Any]) -> None:
    if values["model"] != type(model).__name__:
        raise ValueError(f"model {values['model']}, not {type(model).__name__}")
    networks, variables = model._get_torch_save_params()
    for name in networks:
        part = attrgetter(name)(model)
        if isinstance(part, torch.optim.Optimizer):
            moments = _below(f"optimizer/{name}", tensors)
            _restore_optimizer(part, values[f"optimizer {name}"], moments)
        else:
            part.load_state_dict(_below(f"network/{name}", tensors))
    for name in variables:
        with torch.no_grad():
            attrgetter(name)(model).copy_(tensors[f"variable/{name}"])
    for name in COUNTERS:
        if name in values:
            setattr(model, name, values[name])
    # SB3 divides the steps of this process by its time to get the frames per second.
    model._num_timesteps_at_start = model.num_timesteps
    for name in LAST:
        setattr(model, name, _as_arrays(_below(name, tensors), getattr(model, name)))
    for i, state in enumerate(_recurrent(model)):
        state.copy_(tensors[f"recurrent/{i}"])
    base_env(model).load_state_dict(_below("rows", tensors))
    _restore_normalizer(model, tensors, values)
    if (buffer := getattr(model, "replay_buffer", None)) is not None:
        buffer.pos, buffer.full = values["replay"]["pos"], values["replay"]["full"]
        for name, array in _replay_arrays(buffer).items():
            array[: buffer.size()] = tensors[f"replay/{name}"].numpy()
    _restore_log(model, values)
    _restore_random(model, tensors, values)


def base_env(model: BaseAlgorithm) -> Any:
    """The vector environment under all wrappers, which must be able to save its state.

    Raises:
        CheckpointError: it has no ``state_dict``.
    """
    env: Any = model.get_env()
    while hasattr(env, "venv"):
        env = env.venv
    if not hasattr(env, "state_dict"):
        raise CheckpointError(f"{type(env).__name__} cannot save its state: no state_dict")
    return env


def _recurrent(model: BaseAlgorithm) -> list[Tensor]:
    """The LSTM states of recurrent PPO: hidden and cell of policy and value function."""
    states = getattr(model, "_last_lstm_states", None)
    return [] if states is None else [tensor for pair in states for tensor in pair]


# --- optimisers -----------------------------------------------------------------------------------


def _take_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], Tensors]:
    """Options and scalar states as plain data, tensor states by ``parameter/key``."""
    saved = optimizer.state_dict()
    tensors: Tensors = {}
    scalars: dict[str, Any] = {}
    for index, state in saved["state"].items():
        for key, value in state.items():
            target: dict[str, Any] = tensors if isinstance(value, Tensor) else scalars
            target[f"{index}/{key}"] = value
    return {"scalars": scalars, "groups": saved["param_groups"]}, tensors


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, values: dict[str, Any], tensors: Tensors
) -> None:
    own = optimizer.state_dict()["param_groups"]
    for group, saved in zip(own, values["groups"], strict=True):
        if group["params"] != saved["params"]:
            raise ValueError("an optimiser of other parameters")
        # JSON has no tuples.
        group |= {k: tuple(v) if isinstance(group[k], tuple) else v for k, v in saved.items()}
    state: dict[int, dict[str, Any]] = {}
    for place, value in {**tensors, **values["scalars"]}.items():
        index, _, key = place.partition("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": own})


# --- replay buffer and normalisation --------------------------------------------------------------


def _replay_arrays(buffer: ReplayBuffer) -> dict[str, NDArray[Any]]:
    """The arrays of a buffer by name, those of Dict observations one by one."""
    found: dict[str, NDArray[Any]] = {}
    for name in REPLAY:
        array = getattr(buffer, name)
        if isinstance(array, dict):
            found |= {f"{name}/{key}": part for key, part in array.items()}
        else:
            found[name] = array
    return found


def _moments(model: BaseAlgorithm) -> dict[str, Any]:
    """The running moments of VecNormalize by name."""
    normalizer: Any = model.get_vec_normalize_env()
    if normalizer is None:
        return {}
    found = {"return": normalizer.ret_rms}
    if not normalizer.norm_obs:
        return found
    observations = normalizer.obs_rms
    if isinstance(observations, Mapping):
        return found | {f"observation/{key}": rms for key, rms in observations.items()}
    return found | {"observation": observations}


def _take_normalizer(model: BaseAlgorithm, tensors: Tensors, values: dict[str, Any]) -> None:
    for name, moment in _moments(model).items():
        tensors[f"moments/{name}/mean"] = torch.as_tensor(np.asarray(moment.mean))
        tensors[f"moments/{name}/var"] = torch.as_tensor(np.asarray(moment.var))
        values[f"moments {name}"] = float(moment.count)
    if (normalizer := model.get_vec_normalize_env()) is not None:
        tensors["moments/returns"] = torch.as_tensor(normalizer.returns)


def _restore_normalizer(model: BaseAlgorithm, tensors: Tensors, values: dict[str, Any]) -> None:
    for name, moment in _moments(model).items():
        for part in ("mean", "var"):
            saved = tensors[f"moments/{name}/{part}"].numpy().copy()
            if saved.shape != np.shape(getattr(moment, part)):
                raise ValueError(f"moments of shape {saved.shape}")
            # A plain number stays one: NumPy treats it differently from an array of no axes.
            setattr(moment, part, saved if saved.shape else saved[()])
        moment.count = values[f"moments {name}"]
    if (normalizer := model.get_vec_normalize_env()) is not None:
        normalizer.returns = tensors["moments/returns"].numpy().copy()


# --- log values that wait for the next dump -------------------------------------------------------


def _take_log(model: BaseAlgorithm, values: dict[str, Any]) -> None:
    log = model.logger
    # SB3's explained variance is nan where all returns are equal, which JSON has no number for.
    told = {k: _plain(v) for k, v in log.name_to_value.items()}
    values["log"] = {k: v if math.isfinite(v) else str(v) for k, v in told.items()}
    values["log counts"] = dict(log.name_to_count)
    values["log excluded"] = {k: list(v) for k, v in log.name_to_excluded.items()}
    values["episodes"] = [_plain(e) for e in model.ep_info_buffer or ()]
    values["successes"] = [_plain(s) for s in model.ep_success_buffer or ()]


def _restore_log(model: BaseAlgorithm, values: dict[str, Any]) -> None:
    log, told = model.logger, values["log"]
    for live, saved in (
        (log.name_to_value, {k: float(v) if isinstance(v, str) else v for k, v in told.items()}),
        (log.name_to_count, values["log counts"]),
        (log.name_to_excluded, {k: tuple(v) for k, v in values["log excluded"].items()}),
    ):
        live.clear()
        live.update(saved)
    for buffer, episodes in (
        (model.ep_info_buffer, values["episodes"]),
        (model.ep_success_buffer, values["successes"]),
    ):
        assert buffer is not None
        buffer.clear()
        buffer.extend(episodes)


# --- random states --------------------------------------------------------------------------------


def _take_random(model: BaseAlgorithm, tensors: Tensors, values: dict[str, Any]) -> None:
    tensors["random/torch"] = torch.get_rng_state()
    if model.device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(model.device)
    # SB3 samples replay buffers and action noise from NumPy's global generator.
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    tensors["random/numpy"] = torch.as_tensor(np.asarray(keys, dtype=np.int64))
    values["random numpy"] = [str(kind), int(position), int(has_gauss), float(gauss)]
    version, numbers, gauss_next = random.getstate()
    values["random python"] = [version, list(numbers), gauss_next]
    values["random actions"] = [_rng_state(s) for s in _plain_spaces(model.action_space)]


def _restore_random(model: BaseAlgorithm, tensors: Tensors, values: dict[str, Any]) -> None:
    torch.set_rng_state(tensors["random/torch"])
    if model.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], model.device)
    kind, position, has_gauss, gauss = values["random numpy"]
    keys = tensors["random/numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, gauss))  # noqa: NPY002
    version, numbers, gauss_next = values["random python"]
    random.setstate((version, tuple(numbers), gauss_next))
    for space, state in zip(
        _plain_spaces(model.action_space), values["random actions"], strict=True
    ):
        space.np_random.bit_generator.state = state


def _plain_spaces(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    return list(space.values()) if isinstance(space, spaces.Dict) else [space]


def _rng_state(space: spaces.Space[Any]) -> Any:
    return space.np_random.bit_generator.state


# --- small conversions ----------------------------------------------------------------------------


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}/{k}": v for k, v in tensors.items()}


def _below(prefix: str, tensors: Tensors) -> Tensors:
    start = prefix + "/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _as_tensors(observation: Any) -> Tensors:
    if observation is None:
        return {}
    if isinstance(observation, dict):
        return {k: torch.as_tensor(v) for k, v in observation.items()}
    return {"": torch.as_tensor(observation)}


def _as_arrays(tensors: Tensors, like: Any) -> Any:
    if like is None and not tensors:
        return None
    arrays = {k: v.numpy() for k, v in tensors.items()}
    if isinstance(like, dict):
        if arrays.keys() != like.keys():
            raise ValueError(f"observations {', '.join(arrays)}")
        return arrays
    return arrays[""]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """Python's own numbers, exactly."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return value.item()
    if isinstance(value, Tensor):
        return value.item()
    return value
