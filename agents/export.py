"""From a trained Stable-Baselines3 model to a policy that is only data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from sixgym.agents.algorithms import ALGORITHMS, Algorithm
from sixgym.agents.policies import (
    ACTIVATIONS,
    Architecture,
    Head,
    NeuralPolicy,
    Normalization,
    Recurrence,
    load_policy,
)
from sixgym.agents.sharing import Sharing
from sixgym.envs.core.errors import PolicyError

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecNormalize

    from sixgym.agents.policies import AnyPolicy
    from sixgym.agents.team.player import TeamPlayer
    from sixgym.envs.core.game import Game


def export_policy(model: BaseAlgorithm, *, name: str = "policy") -> AnyPolicy:
    """The acting part of a model as a policy: same actions, normalisation included.

    Weights are copied, so a features extractor or an LSTM that actor and critic share is written
    once and the model may be trained on.

    Args:
        model: of one of the algorithms of `sixgym.agents.algorithms`, with an MLP or LSTM policy.
        name: what tables call the policy.

    Raises:
        PolicyError: the model is of another class or its network of another form.
    """
    algorithm = algorithm_of(model)
    if algorithm.head == "team":
        return _team(model, name)
    hidden, heads, lstm = _actor(model, algorithm)
    linear = [layer for layer in hidden if isinstance(layer, nn.Linear)]
    architecture = Architecture(
        hidden=[layer.out_features for layer in linear],
        activation=_activation(hidden),  # type: ignore[arg-type]
        head=_kind_of_head(model, algorithm),
        recurrence=None
        if lstm is None
        else Recurrence(hidden_size=lstm.hidden_size, layers=lstm.num_layers),
        masked=algorithm.masked,
    )
    normalizer = model.get_vec_normalize_env()
    if normalizer is not None and not normalizer.norm_obs:
        normalizer = None
    policy = NeuralPolicy(
        architecture,
        model.observation_space,
        model.action_space,
        normalization=None
        if normalizer is None
        else Normalization(clip=float(normalizer.clip_obs), epsilon=float(normalizer.epsilon)),
        sharing=_sharing(model),
        name=name,
    )
    tensors = {f"hidden.{k}": v for k, v in nn.Sequential(*hidden).state_dict().items()} | heads
    if lstm is not None:
        tensors |= {f"lstm.{k}": v for k, v in lstm.state_dict().items()}
    if normalizer is not None:
        tensors |= _statistics(normalizer)
    try:
        policy.load_state_dict({k: v.detach().cpu().clone() for k, v in tensors.items()})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise PolicyError(f"{type(model).__name__}: a network of another form: {reason}") from None
    return policy


def _team(model: Any, name: str) -> TeamPlayer:
    """The actor of a team."""
    from sixgym.agents.team.player import TeamPlayer

    game = _as_one_controller(model.policy.game)
    policy = TeamPlayer(model.policy.architecture, game, name=name)
    actor = model.policy.actor.state_dict()
    policy.actor.load_state_dict({k: v.detach().cpu().clone() for k, v in actor.items()})
    return policy


def _sharing(model: BaseAlgorithm) -> Sharing | None:
    """The agents of a game that share the model; None if it does not play one agent of a game.

    Raises:
        PolicyError: others than these agents are in the game.
    """
    from sixgym.envs.core.multiagent_sb3 import MultiAgentVecEnv

    env = model.get_env()
    base = None if env is None else env.unwrapped
    if not isinstance(base, MultiAgentVecEnv):
        return None
    if len(base.game.groups) > 1:
        names = ", ".join(g.name for g in base.game.groups)
        raise PolicyError(f"{type(base.game).__name__}: groups {names}; allowed: one group")
    return Sharing(_as_one_controller(base.game))


def _as_one_controller(game: Game[Any, Any]) -> Game[Any, Any]:
    """The game in the layout that one controller has by default."""
    return type(game)(game.params)


def algorithm_of(model: BaseAlgorithm) -> Algorithm:
    """The entry of a model's class in the table of algorithms.

    Raises:
        PolicyError: there is none.
    """
    found = ALGORITHMS.get(type(model).__name__.lower())
    if found is None:
        allowed = ", ".join(ALGORITHMS)
        raise PolicyError(f"model of class {type(model).__name__}: allowed: {allowed}")
    return found


def _actor(
    model: BaseAlgorithm, algorithm: Algorithm
) -> tuple[list[nn.Module], dict[str, Tensor], nn.LSTM | None]:
    """Hidden layers, tensors of the last layer(s), and the LSTM of the acting network."""
    policy: Any = model.policy
    lstm: nn.LSTM | None = None
    if algorithm.head == "distribution":
        hidden, last = list(policy.mlp_extractor.policy_net), policy.action_net
        extra = {"log_std": policy.log_std} if isinstance(model.action_space, spaces.Box) else {}
        lstm = policy.lstm_actor if algorithm.recurrent else None
        return hidden, _head(last) | extra, lstm
    if algorithm.head == "squashed":
        actor = policy.actor
        deviation = {f"log_std_head.{k}": v for k, v in actor.log_std.state_dict().items()}
        return list(actor.latent_pi), _head(actor.mu) | deviation, None
    if algorithm.head == "deterministic":
        *hidden, last, _tanh = policy.actor.mu
        return hidden, _head(last), None
    *hidden, last = policy.q_net.q_net
    return hidden, _head(last), None


def _kind_of_head(model: BaseAlgorithm, algorithm: Algorithm) -> Head:
    """What the last layer's numbers are."""
    from sixgym.agents.hybrid_sb3 import HybridPolicy

    if isinstance(model.policy, HybridPolicy):
        return "hybrid"
    assert algorithm.head != "team"
    return algorithm.head


def _head(layer: nn.Module) -> dict[str, Tensor]:
    return {f"head.{k}": v for k, v in layer.state_dict().items()}


def _activation(layers: list[nn.Module]) -> str:
    """Name of the activation between the layers (any, if there is none)."""
    kinds = {type(layer) for layer in layers} - {nn.Linear}
    names = [name for name, kind in ACTIVATIONS.items() if kind in kinds]
    if len(kinds) > 1 or len(names) != len(kinds):
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise PolicyError(f"layers {found}: allowed: Linear and one of {', '.join(ACTIVATIONS)}")
    return names[0] if names else "tanh"


def _statistics(normalizer: VecNormalize) -> dict[str, Tensor]:
    """Mean and variance of the observations, float64."""
    found: Any = normalizer.obs_rms
    if isinstance(found, Mapping):
        moments = {f"_{key}": rms for key, rms in found.items()}
    else:
        moments = {"": found}
    return {
        f"observation_{moment}{key}": torch.as_tensor(np.asarray(getattr(rms, moment)))
        for key, rms in moments.items()
        for moment in ("mean", "var")
    }


def begin_with(model: BaseAlgorithm, start: str, seed: int) -> None:
    """Give a fresh model the acting weights of a policy; its critic stays fresh.

    Args:
        model: of PPO, A2C or masked PPO, with an MLP policy.
        start: system and name of a policy that ships (its weights of ``seed``), or a path.
        seed: of the training.

    Raises:
        PolicyError: there is no such policy, or its network is of another form.
    """
    path = Path(start)
    if not path.exists():
        import sixgym.agents

        path = Path(sixgym.agents.__path__[0], "zoo", f"{start}-{seed}.json")
    policy = load_policy(path)
    target: Any = model.policy
    linear = [layer for layer in target.mlp_extractor.policy_net if isinstance(layer, nn.Linear)]
    theirs = (
        []
        if not isinstance(policy, NeuralPolicy)
        else [layer for layer in policy.hidden if isinstance(layer, nn.Linear)]
    )
    own = [*linear, target.action_net]
    given = [*theirs, *([policy.head] if isinstance(policy, NeuralPolicy) else [])]
    shapes = [[tuple(layer.weight.shape) for layer in net] for net in (own, given)]
    if shapes[0] != shapes[1]:
        raise PolicyError(f"start={start!r}: layers {shapes[1]}; allowed: {shapes[0]}")
    for mine, layer in zip(own, given, strict=True):
        mine.load_state_dict(layer.state_dict())
