"""Claims of RIS-NOMA that need no episodes: solutions of one slot, compared exactly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sixgym.baselines.ris_noma import HYBRID
from sixgym.envs.backend.access import descending_gain_order, min_power, tdma_min_power
from sixgym.envs.backend.complex import Complex, norm2
from sixgym.envs.backend.ris import effective_channel
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.ris_noma.channel import estimate, reflection
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.optimisers import optimal_factor
from sixgym.envs.ris_noma.params import RisNomaParams
from sixgym.leaderboard.claims.framework import Claim, Evidence, Outcome
from sixgym.leaderboard.claims.rules import Finding, verdict
from sixgym.leaderboard.protocol import VERSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TASKS = (20e3, 40e3, 60e3)
"""Task sizes of C9, bit."""
WORST, BEST = 1e-10, 1e-8
"""Channel gains between which C9 is stated."""
WORLDS = 256
"""Worlds of C12."""
DEMANDS = (5e3, 1e4)
"""Equal demands of C12, bit a user: 2 and 4 times ln 2 nats over four users' turns."""


def optimal_factors(volume_bits: Tensor, gain: Tensor) -> Tensor:
    """Optimal extraction factor of one user alone, float64.

    Args:
        volume_bits: (n,) raw bits.
        gain: (n,) channel power gain, not over the noise.

    Returns:
        (n,) in [rho_min, 1].
    """
    params = RisNomaParams(num_users=1, num_elements=0)
    model = Model(params, torch.float64, "cpu")
    amplitude = (gain / params.noise_power_w).sqrt()[:, None, None]
    column = volume_bits[:, None]
    order = torch.zeros(len(gain), 1, dtype=torch.int64)
    channel = Complex(amplitude, torch.zeros_like(amplitude))
    start = torch.full_like(column, 0.5)
    return optimal_factor(model, channel, torch.zeros_like(column), column, start, order)[:, 0]


def _c9(evidence: Evidence) -> Outcome:
    gains = torch.logspace(math.log10(WORST), math.log10(BEST), 41, dtype=torch.float64)
    sizes = torch.tensor(TASKS, dtype=torch.float64)
    grid = optimal_factors(sizes.repeat_interleave(len(gains)), gains.repeat(len(sizes)))
    rho = grid.reshape(len(sizes), len(gains))
    steps = rho.diff(dim=1)
    at_best, at_worst = rho[:, -1].tolist(), rho[:, 0].tolist()
    found, why = verdict(
        [
            Finding(
                bool((steps >= -1e-9).all() and (rho[:, -1] > rho[:, 0]).all()), "not monotone"
            ),
            Finding(at_best[0] > at_best[1] > at_best[2], f"at {BEST:g}: {at_best}"),
            Finding(at_worst[0] < at_worst[1] < at_worst[2], f"at {WORST:g}: {at_worst}"),
        ]
    )

    def draw(axes: Axes) -> None:
        for size, curve in zip(TASKS, rho.tolist(), strict=True):
            axes.plot(gains.tolist(), curve, label=f"{size / 1e3:.0f} kbit")
        axes.set_xscale("log")
        axes.set_xlabel("channel gain")
        axes.set_ylabel("optimal extraction factor")
        axes.legend(frameon=False)

    return Outcome(
        found,
        f"rho* at 20, 40, 60 kbit: g={BEST:g} {', '.join(f'{r:.4f}' for r in at_best)}; "
        f"g={WORST:g} {', '.join(f'{r:.4f}' for r in at_worst)}; rising in g between (exact)",
        why,
        draw=draw,
    )


def mean_powers(gain: Tensor, nats: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Summed mean powers of NOMA with descending order, TDMA in equal turns, NOMA ascending.

    Args:
        gain: (n, users) over the noise.
        nats: (n, users) demands in nats per channel use of the whole phase; no cap on powers.
    """
    users = gain.shape[-1]
    descending = descending_gain_order(gain)
    target = torch.expm1(nats)
    best = min_power(gain, target, descending, 1.0, math.inf).power_w.sum(-1)
    worst = min_power(gain, target, descending.flip(-1), 1.0, math.inf).power_w.sum(-1)
    turns = tdma_min_power(gain, nats, 1.0, math.inf, 1.0 / users).power_w.sum(-1) / users
    return best, turns, worst


def world_gains(worlds: int = WORLDS) -> Tensor:
    """(worlds, users) effective channel gains over the noise of first states, float64."""
    from sixgym.leaderboard.runner import make_rows

    env = make_rows(HYBRID, worlds, {"dtype": "float64"})
    env.reset(seed=row_seed("evaluation", VERSION))
    state = env.rows.state
    links = estimate(env.system.model, state.links)  # type: ignore[attr-defined]
    return norm2(effective_channel(links.direct, links.cascaded, reflection(state.surface)))


def _c12(evidence: Evidence) -> Outcome:
    gain = world_gains()
    beta = Model(RisNomaParams(), torch.float64, "cpu").beta
    violations, told, parts = 0, [], []
    for demand in DEMANDS:
        nats = torch.full_like(gain, demand * beta)
        best, turns, worst = mean_powers(gain, nats)
        slack = 1e-12 * worst
        violations += int(((best > turns + slack) | (turns > worst + slack)).sum())
        parts.append((turns / best, worst / best))
        told.append(
            f"{demand / 1e3:g} kbit: TDMA {(turns / best).median():.2f} x, "
            f"ascending {(worst / best).median():.2f} x descending (median)"
        )
    count = len(DEMANDS) * len(gain)
    found, why = verdict(
        [Finding(violations == 0, f"{violations} of {count} instances violate it")]
    )

    def draw(axes: Axes) -> None:
        turns, worst = parts[-1]
        place = torch.linspace(0.0, 1.0, len(turns))
        for label, values in (("TDMA", turns), ("NOMA ascending", worst)):
            axes.plot(values.sort().values, place, label=label)
        axes.axvline(1.0, color="#20242c", linestyle="--", label="NOMA descending")
        axes.set_xscale("log")
        axes.set_xlabel("transmit energy over that of NOMA, strong first")
        axes.set_ylabel("share of the worlds")
        axes.legend(frameon=False)

    return Outcome(
        found,
        f"holds in {count - violations} of {count} instances (4 users, equal demands, exact). "
        + "; ".join(told),
        why,
        draw=draw,
    )


C9 = Claim(
    "C9",
    "[standard: 2309.11736]",
    "The optimal extraction factor falls as the channel worsens; with size it has no fixed sign.",
    "rho* falls with g over 1e-8..1e-10; over 20, 40, 60 kbit it falls at 1e-8 and rises at 1e-10",
    (),
    _c9,
)
C12 = Claim(
    "C12",
    "[derived]",
    "For equal uncapped demands TDMA lies between the two NOMA orders in transmit energy.",
    "NOMA descending <= TDMA <= NOMA ascending in every instance (exact)",
    (),
    _c12,
)
