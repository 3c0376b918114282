"""Shared by the tests of NetGPT: batches, runs, and the model again in NumPy and SciPy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.netgpt import NetGptBatch, NetGptRoute, NetGptThreshold

Floats = NDArray[np.float64]
SYSTEMS: dict[str, Any] = {
    "threshold": NetGptThreshold,
    "route": NetGptRoute,
    "batch": NetGptBatch,
}

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(400)
DIFFICULTY = (_NODE + 1) / 2
MASS = _WEIGHT / 2 * stats.beta(2, 3).pdf(DIFFICULTY)
"""Nodes and weights of expectations over the difficulty."""
FLOOR = 0.0732
"""omega_0 of the defaults: lambda_L L_e + lambda_P P_e."""
OMEGA = np.array([0.247013, 0.269947, 0.358214, 0.644218])
"""omega of the regimes at deterministic sizes (dossier, table 6.2)."""
STATIONARY = np.array([6, 6, 5, 3]) / 20
SUCCESS_CLOUD = 0.995 * 0.95


def batch(kind: str = "threshold", rows: int = 64, **kwargs: Any) -> SixgymVectorEnv:
    """Rows of a system as a vector environment without time limit."""
    return make_vector_env(SYSTEMS[kind], rows, **kwargs)


def act(env: SixgymVectorEnv, observation: Any, tau: float) -> Any:
    """The action of a threshold in any of the three systems."""
    if isinstance(env.system, NetGptThreshold):
        return np.full((env.num_envs, 1), tau, np.float32)
    if isinstance(env.system, NetGptRoute):
        return (observation[:, 10] < np.float32(tau)).astype(np.int64)
    return (observation["requests"][:, :, 0] < np.float32(tau)).astype(np.int8)


def play(env: SixgymVectorEnv, tau: float, steps: int, seed: int = 3) -> dict[str, Floats]:
    """(steps, rows, ...) of each metric and of the reward under one threshold."""
    observation, _ = env.reset(seed=seed)
    seen: dict[str, list[Any]] = {}
    for _ in range(steps):
        observation, reward, _, _, info = env.step(act(env, observation, tau))
        values = {"reward": reward} | {k: v for k, v in info.items() if not k.startswith("_")}
        for name, value in values.items():
            seen.setdefault(name, []).append(np.array(value, np.float64))
    return {name: np.stack(values) for name, values in seen.items()}


def per_request(seen: dict[str, Floats], name: str) -> tuple[float, float]:
    """Mean of a metric per request and its standard error, rows being independent."""
    row = seen[name].sum(0) / seen["requests"].sum(0)
    return float(row.mean()), float(row.std(ddof=1) / np.sqrt(row.size))


class Law(NamedTuple):
    """What one threshold achieves in expectation."""

    offload: float
    quality: float

    def utility(self, omega: float = float(STATIONARY @ OMEGA), value: float = 1.0) -> float:
        """V Q - omega O - omega_0."""
        return value * self.quality - omega * self.offload - FLOOR


def law(
    tau: float,
    *,
    kappa: float = 0.55,
    kappa_rm: float = 0.55,
    bias: float = 0.0,
    sigma: float = 0.75,
    slope: float = 8.0,
    valid: float = 0.96,
    gate: bool = True,
) -> Law:
    """Offload share and quality of a threshold in (0, 1] by quadrature over the difficulty.

    Given d, the score is below tau with probability Phi((logit tau - a (kappa_rm - d) - b)/sigma);
    it is independent of the edge's success and, where the schema gates, an invalid draft is below.
    """
    d, mass = DIFFICULTY, MASS
    right = special.expit(slope * (kappa - d))
    below = np.ones_like(d)
    if tau < 1.0:
        below = special.ndtr((special.logit(tau) - slope * (kappa_rm - d) - bias) / sigma)
    away = (1 - valid) + valid * below if gate else below
    offload = float(mass @ away)
    return Law(offload, float(mass @ (valid * right * (1 - below))) + SUCCESS_CLOUD * offload)


def edge_success(kappa: float, slope: float = 8.0) -> float:
    """E_d of the edge's success given a valid draft."""
    return float(MASS @ special.expit(slope * (kappa - DIFFICULTY)))
