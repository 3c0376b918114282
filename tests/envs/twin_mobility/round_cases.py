"""Shared by the tests of `sixgym/TwinRound-v0`: batches, moves, a round in plain Python."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.twin_mobility import TwinRound
from sixgym.envs.twin_mobility.round_params import TwinRoundParams

Floats = NDArray[Any]
SMALLEST_W = 0.05
INSTANCE_A: dict[str, Any] = {
    "pos": [[900.0, 800.0]],
    "reg_xy": [[800.0, 500.0]],
    "kappa": [0.4],
    "f_max": [4e9],
    "drift": [0.04],
    "f_min": [0.85],
    "aoi0": [0.0],
}
"""One agent and one region, checked by hand."""


def batch(rows: int = 1, **kwargs: Any) -> SixgymVectorEnv:
    """Rows in double precision, with diagnostics, acted on by regions and levels."""
    kwargs = {"dtype": "float64", "info_level": 1, "action_mode": "hybrid", **kwargs}
    return make_vector_env(TwinRound, rows, **kwargs)


def levels(
    params: TwinRoundParams,
    f_max: float = 4e9,
    *,
    v: float = 10.0,
    tau: float = 5.0,
    f: float | None = None,
    eta: float = 0.25,
    xi: float = 0.3,
    power: float | None = None,
    w: float = 1.0,
) -> list[float]:
    """The levels u of resources in their units."""
    p = params
    top = p.power_max_w if power is None else power
    return [
        (v - p.speed_min_mps) / (p.speed_max_mps - p.speed_min_mps),
        math.log(tau / p.sensing_min_s) / math.log(p.sensing_max_s / p.sensing_min_s),
        1.0 if f is None else (f - p.cpu_min_flops) / (f_max - p.cpu_min_flops),
        1.0 - math.log(eta) / math.log(p.compression_min),
        xi,
        math.log(top / p.power_min_w) / math.log(p.power_max_w / p.power_min_w),
        1.0 - math.log(w) / math.log(p.request_min),
    ]


def moves(region: Any, u: Any) -> dict[str, Floats]:
    """Moves of a batch: regions (rows, N) from 1, 0 for staying; levels (rows, N, 7)."""
    return {
        "agent.region": np.asarray(region, np.int64),
        "agent.u": np.asarray(u, np.float64),
    }


class PlainRound(NamedTuple):
    """A round of one row."""

    scores: list[float]
    refreshed: list[bool]
    length_s: float
    ages: list[float]
    infos: list[float]
    battery: list[float]
    stage_s: Floats
    stage_j: Floats


def _motion_w(p: TwinRoundParams, v: float) -> float:
    if p.platform == "ugv":
        return p.motion_static_w + p.motion_linear_j_per_m * v + p.motion_quadratic * v * v
    induced = math.sqrt(1 + v**4 / (4 * 4.03**4)) - v * v / (2 * 4.03**2)
    return (
        79.8563 * (1 + 3 * v * v / 120**2)
        + 88.6279 * math.sqrt(induced)
        + 0.5 * 0.6 * 1.225 * 0.05 * 0.503 * v**3
    )


def plain_deviation(p: TwinRoundParams, drift: float, age: float, info: float) -> float:
    """D of one region."""
    if p.deviation == "ratio":
        return drift * age / (1 - math.exp(-info))
    if p.deviation == "ou":
        q = math.exp(-2 * p.ou_rate_per_s * age)
        return drift / (2 * p.ou_rate_per_s) * (1 - q) + p.omega * math.exp(-info) * q
    return drift * age + p.omega * math.exp(-info)


def plain_round(p: TwinRoundParams, one: Any, region: Any, u: Any) -> PlainRound:
    """A round of one row, agent by agent; the model again, written from its description.

    Args:
        p: parameters.
        one: fields of the state of the row as arrays.
        region: (N,) choices.
        u: (N, 7) levels.
    """
    station = np.array([p.area_m / 2, p.area_m / 2])
    n0 = 10 ** ((p.noise_dbm_per_hz + p.noise_figure_db - 30) / 10)
    hover = _motion_w(p, 0.0) if p.platform == "uav" else p.idle_power_w
    count = len(region)
    weight = [1.0 if p.equal_weight else p.request_min ** (1 - u[n][6]) for n in range(count)]
    going = [n for n in range(count) if region[n] > 0 and one.battery_j[n] > 0]
    stage_s, stage_j = np.zeros((count, 5)), np.zeros((count, 5))
    info = [0.0] * count
    for n in going:
        r = region[n] - 1
        v = p.speed_min_mps + (p.speed_max_mps - p.speed_min_mps) * u[n][0]
        tau = p.sensing_min_s * (p.sensing_max_s / p.sensing_min_s) ** u[n][1]
        f = p.cpu_min_flops + (one.cpu_max[n] - p.cpu_min_flops) * u[n][2]
        f = one.cpu_max[n] if p.fixed_cpu else f
        eta = p.compression_min ** (1 - u[n][3])
        power = p.power_min_w * (p.power_max_w / p.power_min_w) ** u[n][5]
        off = one.position[n] - one.centre[r]
        rho = math.hypot(*off)
        point = one.centre[r] + off * min(1.0, p.sensing_radius_m / rho)
        d1 = max(0.0, rho - p.sensing_radius_m)
        g = math.hypot(*(point - station))
        x = u[n][4] * max(0.0, g - p.approach_limit_m)
        gain = p.gain_1m * math.hypot(g - x, p.bs_height_m) ** -p.path_loss_exponent
        if p.shadowing_db:
            gain *= one.shadow[n, r]
        if p.fading != "none":
            gain *= one.fading[n]
        b = p.bandwidth_hz * weight[n] / sum(weight[m] for m in going)
        efficiency = math.log2(1 + power * gain / (n0 * b))
        rate = b * (min(efficiency, p.se_max) if p.se_max else efficiency)
        bits = one.drawn_bits[n] if p.raw_mode == "fixed" else p.sensing_rate_bps * tau
        work = bits * (
            p.work_base_flop_per_bit + p.work_gen_flop_per_bit * p.work_gamma * math.log(1 / eta)
        )
        k = p.compression_loss
        kept = 1.0 if k == 0 else (1 - math.exp(-k * eta)) / (1 - math.exp(-k))
        info[n] = one.kappa[n, r] * tau * kept
        t3, t5 = work / f, eta * bits / rate
        drawn = power / p.pa_efficiency + p.circuit_power_w
        stage_s[n] = [d1 / v, tau, t3, x / v, t5]
        stage_j[n] = [
            _motion_w(p, v) / v * d1,
            (p.sensing_power_w + hover) * tau,
            p.cpu_capacitance * f * f * work + hover * t3,
            _motion_w(p, v) / v * x,
            (drawn + hover) * t5,
        ]
    return _deliver(p, one, region, stage_s, stage_j, info, going)


def _deliver(
    p: TwinRoundParams, one: Any, region: Any, stage_s: Floats, stage_j: Floats,
    info: list[float], going: list[int],
) -> PlainRound:  # fmt: skip
    times = stage_s.sum(1)
    if p.overlap_proc_move:
        times = times - np.minimum(stage_s[:, 2], stage_s[:, 3])
    energy = stage_j.sum(1)
    battery = list(one.battery_j)
    hard = p.hard_energy if p.hard_energy is not None else p.num_rounds == 1
    comes = []
    for n in going:
        if energy[n] <= battery[n] and not (hard and energy[n] > p.cycle_energy_j):
            comes.append(n)
        stage_j[n] *= min(1.0, battery[n] / energy[n])
        battery[n] = max(0.0, battery[n] - energy[n])
    length = max([p.round_min_s, *(times[n] for n in comes)])
    scores, refreshed, ages, infos = [], [], [], []
    for r in range(len(one.drift)):
        group = [n for n in comes if region[n] == r + 1]
        total = sum(info[n] for n in group)
        done = bool(group) and total >= one.theta[r]
        if done:
            last = max(times[n] for n in group)
            scores.append(plain_deviation(p, one.drift[r], one.age_s[r] + last, total))
            ages.append(length - min(stage_s[n, 0] + stage_s[n, 1] for n in group))
            infos.append(total)
        else:
            missed = plain_deviation(p, one.drift[r], one.age_s[r] + length, one.twin_info[r])
            scores.append(missed + p.miss_penalty)
            ages.append(one.age_s[r] + length)
            infos.append(one.twin_info[r])
        refreshed.append(done)
    return PlainRound(scores, refreshed, length, ages, infos, battery, stage_s, stage_j)
