"""Processor cycles, time and energy; semantic extraction workload and similarity.

A processor at speed f (cycle/s) spends ``kappa f^2`` joule a cycle, kappa being the switched
capacitance; where it can choose its speed freely (DVFS) the lowest speed that is fast enough is the
cheapest.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

WorkloadLaw = Literal["log", "linear", "power"]
WORKLOAD_LAWS: tuple[WorkloadLaw, ...] = ("log", "linear", "power")
POWER_EXPONENT = 0.5
"""Exponent a of the workload law "power". [our choice]"""
SIMILARITY_RATE = 5.0
"""Rate of the similarity curve: a factor of 0.2 keeps 0.9. [our choice]"""


def cpu_time(cycles: Tensor, speed_hz: Tensor | float) -> Tensor:
    """Time ``C / f`` in s; 0 where there are no cycles, even at speed 0.

    Args:
        cycles: load C, any shape, >= 0.
        speed_hz: speed f, cycle/s, >= 0; a float must be positive.

    Raises:
        ValueError: if a float ``speed_hz`` is not positive.
    """
    _positive("speed_hz", speed_hz)
    return torch.where(cycles > 0, cycles / speed_hz, 0.0)


def dvfs_energy(cycles: Tensor, speed_hz: Tensor, capacitance: float) -> Tensor:
    """Energy ``kappa f^2 C`` in J of ``cycles`` at speed ``speed_hz``.

    Args:
        cycles: load C, >= 0.
        speed_hz: speed f, cycle/s.
        capacitance: kappa, J s^2 / cycle^3, >= 0 (1e-27 or 1e-28 in public codes).

    Returns:
        J, broadcast shape. [standard: switched-capacitance law, Mao et al. LODCO (mem.)]
    """
    _not_negative("capacitance", capacitance)
    return capacitance * speed_hz * speed_hz * cycles


def dvfs_energy_by_deadline(cycles: Tensor, time_s: float, capacitance: float) -> Tensor:
    """Energy ``kappa C^3 / t^2`` in J at the lowest sufficient speed ``C / t``.

    Spreading a job over n slots of equal length therefore costs n^2 times less. [derived]

    Args:
        cycles: load C, any shape, >= 0.
        time_s: time allowed, s, > 0.
        capacitance: kappa, J s^2 / cycle^3, >= 0.

    Raises:
        ValueError: if ``time_s`` is not positive or ``capacitance`` is negative.
    """
    _positive("time_s", time_s)
    return dvfs_energy(cycles, lowest_speed(cycles, time_s), capacitance)


def fixed_energy(cycles: Tensor, energy_per_cycle_j: float) -> Tensor:
    """Energy ``e0 C`` in J of a processor that spends the same on every cycle.

    Args:
        cycles: load C, any shape, >= 0.
        energy_per_cycle_j: e0, J/cycle, >= 0 (2.5e-10 is ``kappa f^2`` at 0.5 GHz, kappa 1e-27).

    Raises:
        ValueError: if ``energy_per_cycle_j`` is negative.
    """
    _not_negative("energy_per_cycle_j", energy_per_cycle_j)
    return cycles * energy_per_cycle_j


def lowest_speed(cycles: Tensor, time_s: float, max_speed_hz: float = math.inf) -> Tensor:
    """Lowest sufficient speed ``min(C / t, f_max)`` in cycle/s.

    Args:
        cycles: load C, any shape, >= 0.
        time_s: time allowed, s, > 0.
        max_speed_hz: f_max, cycle/s, > 0; where it binds the load does not fit in the time.

    Raises:
        ValueError: if ``time_s`` or ``max_speed_hz`` is not positive.
    """
    _positive("time_s", time_s)
    _positive("max_speed_hz", max_speed_hz)
    speed = cycles / time_s
    return speed if math.isinf(max_speed_hz) else speed.clamp_max(max_speed_hz)


def batch_service_time(count: Tensor, setup_s: float, per_task_s: float) -> Tensor:
    """Time to serve a batch together, ``setup + per_task n`` in s; 0 for an empty batch.

    Args:
        count: tasks n in the batch, any shape, integer or float, >= 0.
        setup_s: time that a batch of any size costs, s, >= 0.
        per_task_s: time each task adds, s, >= 0.

    Returns:
        s, in the default float dtype for integer counts. [standard: affine batch service]

    Raises:
        ValueError: if a time is negative.
    """
    _not_negative("setup_s", setup_s)
    _not_negative("per_task_s", per_task_s)
    return torch.where(count > 0, setup_s + per_task_s * count, 0.0)


def batch_rate(count: Tensor, setup_s: float, per_task_s: float) -> Tensor:
    """Tasks a second, ``n / (setup + per_task n)``: rises with the batch to ``1 / per_task``.

    Args:
        count: tasks n in the batch, any shape, >= 0.
        setup_s: time that a batch of any size costs, s, > 0.
        per_task_s: time each task adds, s, >= 0.

    Raises:
        ValueError: if ``setup_s`` is not positive or ``per_task_s`` is negative.
    """
    _positive("setup_s", setup_s)
    _not_negative("per_task_s", per_task_s)
    return count / (setup_s + per_task_s * count)


def workload(factor: Tensor, law: WorkloadLaw = "log") -> Tensor:
    """Cycles per raw bit over the constant c, ``phi(rho)``, of the extraction factor rho.

    "log": ``ln(1/rho)``; "linear": ``1 - rho``; "power": ``rho^-a - 1`` with a = 0.5. The load of x
    raw bits is ``C = c x phi(rho)``. All are 0 at rho = 1 (raw transmission) and fall with rho; the
    first makes C jointly convex in (x, s = rho x). [our choice among published shapes]

    Args:
        factor: rho, semantic bits per raw bit, any shape, in (0, 1].
        law: which shape.

    Returns:
        phi(rho), 1, >= 0.

    Raises:
        ValueError: if ``law`` is unknown.
    """
    match _known(law):
        case "log":
            return -torch.log(factor)
        case "linear":
            return 1.0 - factor
        case "power":
            return factor**-POWER_EXPONENT - 1.0


def factor_of_workload(load: Tensor, law: WorkloadLaw = "log") -> Tensor:
    """Inverse of :func:`workload`: the smallest factor that ``load`` cycles per bit and c reach.

    Args:
        load: phi >= 0, any shape; ``f_max t / (c x)`` for x raw bits in time t.
        law: which shape.

    Returns:
        rho in [0, 1]; 0 for "linear" where the load is 1 or more.

    Raises:
        ValueError: if ``law`` is unknown.
    """
    match _known(law):
        case "log":
            return torch.exp(-load)
        case "linear":
            return (1.0 - load).clamp_min(0.0)
        case "power":
            return (1.0 + load) ** (-1.0 / POWER_EXPONENT)


def extraction_limit(cycles_budget: float, cycles_per_bit: float, load: Tensor) -> Tensor:
    """Most raw bits that the processor can extract, ``f_max t / (c phi)``; infinite at phi = 0.

    Args:
        cycles_budget: ``f_max t``, cycle, > 0.
        cycles_per_bit: c, cycle per bit (and nat), > 0.
        load: phi(rho) of :func:`workload`, any shape, >= 0.

    Raises:
        ValueError: if ``cycles_budget`` or ``cycles_per_bit`` is not positive.
    """
    _positive("cycles_budget", cycles_budget)
    _positive("cycles_per_bit", cycles_per_bit)
    return torch.where(load > 0, (cycles_budget / cycles_per_bit) / load, math.inf)


def similarity_exponential(factor: Tensor) -> Tensor:
    """Similarity of what is rebuilt from a share of the data, ``(1 - 10^{-5 rho})/(1 - 10^{-5})``.

    Args:
        factor: extraction factor rho, any shape, in [0, 1].

    Returns:
        xi(rho) in [0, 1], rising and concave: 0.900009 at 0.2, 0.99685 at 0.5, 1 at 1. [our choice]
    """
    rate = SIMILARITY_RATE * math.log(10.0)
    return torch.expm1(-rate * factor) / math.expm1(-rate)


def similarity_logistic(
    snr_db: Tensor, lowest: float, highest: float, slope: float, offset: float
) -> Tensor:
    """Similarity as a function of the SNR, ``A1 + (A2 - A1) / (1 + exp(-(C1 snr + C2)))``.

    Args:
        snr_db: SNR, dB, any shape.
        lowest: A1, similarity at very low SNR, 1.
        highest: A2, similarity at very high SNR, 1, >= A1.
        slope: C1, 1/dB, > 0.
        offset: C2, 1.

    Returns:
        xi in [A1, A2]. [standard: Mu, Liu et al. arXiv 2205.02620, fitted to a text transceiver]

    Raises:
        ValueError: if ``highest < lowest`` or ``slope`` is not positive.
    """
    _positive("slope", slope)
    if not highest >= lowest:
        raise ValueError(f"highest = {highest}, must be >= lowest = {lowest}")
    return lowest + (highest - lowest) * torch.sigmoid(slope * snr_db + offset)


def _known(law: WorkloadLaw) -> WorkloadLaw:
    if law not in WORKLOAD_LAWS:
        raise ValueError(f"law = {law!r}, must be one of {', '.join(WORKLOAD_LAWS)}")
    return law


def _positive(name: str, value: Tensor | float) -> None:
    if not isinstance(value, Tensor) and not value > 0.0:
        raise ValueError(f"{name} = {value}, must be > 0")


def _not_negative(name: str, value: float) -> None:
    if not value >= 0.0:
        raise ValueError(f"{name} = {value}, must be >= 0")
