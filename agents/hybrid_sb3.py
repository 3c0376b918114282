"""Actions of a choice and some numbers in Stable-Baselines3: the distribution and a policy.

The action is flat, Box(-1, 1, (n + k,)): the largest of the first n is the choice, u = (a + 1) / 2
are the numbers. What is allowed and what counts comes with the observation, so that SB3's own PPO
trains it, one agent or a policy that all agents of a game share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from sixgym.agents.hybrid import (
    COMPONENT_MASK,
    REGION_MASK,
    Hybrid,
    flat_action,
    hybrid_of,
    hybrid_sizes,
    of_flat,
    prior_logits,
)
from sixgym.envs.core.errors import PolicyError


class HybridDistribution(Distribution):
    """A choice among n and k numbers, of which a mask says what counts.

    Densities are those of the choice and of u in [0, 1].

    Args:
        n: choices.
        k: numbers.
        entropy_of_numbers: weight of the numbers' entropies beside the choice's.
    """

    distribution: Any

    def __init__(self, n: int, k: int, *, entropy_of_numbers: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n, self.k = n, k
        self.entropy_of_numbers = entropy_of_numbers

    def proba_distribution_net(
        self, latent_dim: int, log_std_init: float = 0.0, prior: Sequence[float] | None = None
    ) -> tuple[nn.Linear, nn.Parameter]:
        """The last layer, and the log deviations of the numbers' logits.

        Args:
            latent_dim: inputs of the layer.
            log_std_init: of all numbers.
            prior: medians that the numbers begin with; 1/2 if left out.

        Raises:
            PolicyError: another number of medians.
        """
        layer = nn.Linear(latent_dim, self.n + self.k)
        nn.init.zeros_(layer.bias)
        if prior is not None:
            if len(prior) != self.k:
                raise PolicyError(f"prior={list(prior)}: allowed: {self.k} numbers")
            with torch.no_grad():
                layer.bias[self.n :] = prior_logits(prior)
        return layer, nn.Parameter(torch.full((self.k,), log_std_init))

    def proba_distribution(
        self, outputs: Tensor, log_std: Tensor, allowed: Tensor, component_mask: Tensor
    ) -> HybridDistribution:
        """Set the parameters.

        Args:
            outputs: (rows, n + k) of the last layer.
            log_std: (k,).
            allowed: (rows, n), 1 where a choice is allowed.
            component_mask: (rows, 1 + k), 1 where a part counts.
        """
        logits, raw = outputs[..., : self.n], outputs[..., self.n :]
        self.distribution = hybrid_of(logits, raw, log_std, allowed, component_mask)
        return self

    @property
    def hybrid(self) -> Hybrid:
        """What it is now."""
        return cast("Hybrid", self.distribution)

    def log_prob(self, actions: Tensor) -> Tensor:
        """(rows,) of flat actions (rows, n + k)."""
        return self.hybrid.log_prob(*of_flat(actions, self.n))

    def entropy(self) -> Tensor:
        """(rows,), that of the numbers weighted."""
        return self.hybrid.entropy(self.entropy_of_numbers)

    def sample(self) -> Tensor:
        """(rows, n + k), by torch's generator."""
        mask = self.hybrid.mask
        return self._flat(torch.rand_like(mask), False)

    def mode(self) -> Tensor:
        """(rows, n + k): the best choice, the first of those that tie, and the medians."""
        return self._flat(torch.zeros_like(self.hybrid.mask), True)

    def _flat(self, uniform: Tensor, deterministic: bool) -> Tensor:
        return flat_action(*self.hybrid.pick(uniform, deterministic), self.n)

    def actions_from_params(
        self,
        outputs: Tensor,
        log_std: Tensor,
        allowed: Tensor,
        component_mask: Tensor,
        deterministic: bool = False,
    ) -> Tensor:
        """Flat actions (rows, n + k) of parameters; see `proba_distribution`."""
        self.proba_distribution(outputs, log_std, allowed, component_mask)
        return self.get_actions(deterministic=deterministic)

    def log_prob_from_params(
        self, outputs: Tensor, log_std: Tensor, allowed: Tensor, component_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sampled actions of parameters, and their log-probabilities."""
        actions = self.actions_from_params(outputs, log_std, allowed, component_mask)
        return actions, self.log_prob(actions)


class HybridPolicy(MultiInputActorCriticPolicy):
    """Actor and critic for PPO and A2C, by `HybridDistribution`.

    Args:
        observation_space: with the masks ``region_mask`` (n,) and ``component_mask`` (1 + k,).
        action_space: Box(-1, 1, (n + k,)).
        lr_schedule: the learning rate.
        *args: as SB3's.
        prior: medians that the numbers begin with.
        entropy_of_numbers: see `HybridDistribution`.
        **kwargs: as SB3's.

    Raises:
        PolicyError: the spaces are others.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *args: Any,
        prior: Sequence[float] | None = None,
        entropy_of_numbers: float = 1.0,
        **kwargs: Any,
    ) -> None:
        self._sizes = hybrid_sizes(observation_space, action_space)
        self._prior, self._entropy_of_numbers = prior, entropy_of_numbers
        super().__init__(observation_space, action_space, lr_schedule, *args, **kwargs)
        if self.use_sde:
            raise PolicyError("use_sde=True: allowed for a HybridPolicy: False")

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"prior": self._prior, "entropy_of_numbers": self._entropy_of_numbers}
        return super()._get_constructor_parameters() | own

    def _build(self, lr_schedule: Schedule) -> None:
        """SB3's layers, whose last is then replaced by that of the distribution."""
        super()._build(lr_schedule)
        choice = HybridDistribution(*self._sizes, entropy_of_numbers=self._entropy_of_numbers)
        self.action_net, self.log_std = choice.proba_distribution_net(
            self.mlp_extractor.latent_dim_pi, self.log_std_init, self._prior
        )
        if self.ortho_init:
            nn.init.orthogonal_(self.action_net.weight, 0.01)
        self.action_dist = choice
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]  # of every optimiser, not of their base
            **self.optimizer_kwargs,
        )

    def forward(  # type: ignore[override]  # a dictionary, as SB3's own has it by its documentation
        self, obs: dict[str, Tensor], deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities."""
        latent_pi, latent_vf = self._latents(obs)
        found = self._of_latent(latent_pi, obs)
        actions = found.get_actions(deterministic=deterministic)
        return actions, self.value_net(latent_vf), found.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values, log-probabilities and entropies."""
        latent_pi, latent_vf = self._latents(obs)
        found = self._of_latent(latent_pi, obs)
        return self.value_net(latent_vf), found.log_prob(actions), found.entropy()

    def get_distribution(self, obs: PyTorchObs) -> HybridDistribution:
        """What it does when it sees this."""
        return self._of_latent(self._latents(obs)[0], obs)

    def _latents(self, obs: PyTorchObs) -> tuple[Tensor, Tensor]:
        features = self.extract_features(obs)
        if isinstance(features, Tensor):
            actor, critic = self.mlp_extractor(features)
            return actor, critic
        ours, theirs = features
        return self.mlp_extractor.forward_actor(ours), self.mlp_extractor.forward_critic(theirs)

    def _of_latent(self, latent: Tensor, obs: PyTorchObs) -> HybridDistribution:
        assert isinstance(obs, dict)
        found = cast("HybridDistribution", self.action_dist)
        return found.proba_distribution(
            self.action_net(latent), self.log_std, obs[REGION_MASK], obs[COMPONENT_MASK]
        )
