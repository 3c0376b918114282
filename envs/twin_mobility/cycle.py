"""One cycle of five stages in closed form: times, energies, information.

The stages are move to sense, sense, process, move towards the base station, transmit. All functions
are elementwise; a tensor of stages has them on its last axis.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.params import TwinBaseParams

NUM_STAGES = 5


class Cycle(NamedTuple):
    """What one cycle takes and brings, each of the agents' shape (...) or with the stages last."""

    time_s: Tensor
    """(..., 5) T_i in s."""
    energy_j: Tensor
    """(..., 5) E_i in J."""
    information: Tensor
    """(...) I in nat."""
    raw_bits: Tensor
    """(...) L."""
    work_flop: Tensor
    """(...) L C(eta)."""
    sent_bits: Tensor
    """(...) S = eta L."""

    def duration_s(self, *, overlap: bool = False) -> Tensor:
        """(...) time of the whole cycle.

        Args:
            overlap: processing and the move towards the station run at the same time, T_3 and T_4
                count by their maximum.
        """
        first, sense, process, move, send = self.time_s.unbind(-1)
        middle = torch.maximum(process, move) if overlap else process + move
        return first + sense + middle + send


def preservation(compression: Tensor, loss: float) -> Tensor:
    """Semantic preservation xi(eta) = (1 - e^(-k eta)) / (1 - e^-k). [ours].

    Args:
        compression: eta in (0, 1], share of the raw bits that is sent.
        loss: k >= 0; 0 for compression without loss, xi = 1.

    Returns:
        In (0, 1], increasing and concave: 0.699 at 0.1, 0.9502 at 0.25 and 1 at 1 for k = 12.
    """
    if loss == 0.0:
        return torch.ones_like(compression)
    return torch.expm1(-loss * compression) / math.expm1(-loss)


def work_per_bit(compression: Tensor, params: TwinBaseParams) -> Tensor:
    """Processing C(eta) = C_b + C_g gamma ln(1 / eta), FLOP for each raw bit. [notes]."""
    return params.work_base_flop_per_bit - params.work_slope_flop_per_bit * compression.log()


def information(kappa: Tensor, sensing_s: Tensor, compression: Tensor, loss: float) -> Tensor:
    """I = kappa tau xi(eta), nat. [standard: Koopman's exponential detection law]."""
    return kappa * sensing_s * preservation(compression, loss)


def fidelity(info: Tensor) -> Tensor:
    """F = 1 - e^-I; the information of a group adds, so F = 1 - prod (1 - F_n)."""
    return -torch.expm1(-info)


def raw_bits(sensing_s: Tensor, drawn_bits: Tensor | None, params: TwinBaseParams) -> Tensor:
    """L = rho_s tau, or what was drawn for the agent where the raw data are fixed."""
    return params.sensing_rate_bps * sensing_s if drawn_bits is None else drawn_bits


def cycle(
    params: TwinBaseParams,
    *,
    move_m: Tensor,
    approach_m: Tensor,
    speed_mps: Tensor,
    sensing_s: Tensor,
    cpu_flops: Tensor,
    compression: Tensor,
    power_w: Tensor,
    rate_bps: Tensor,
    kappa: Tensor,
    drawn_bits: Tensor | None = None,
) -> Cycle:
    """Times, energies and information of a whole cycle with constant resources.

    Args:
        params: prices and constants.
        move_m: d1, way to the sensing point.
        approach_m: x, way towards the station.
        speed_mps: v of both ways.
        sensing_s: tau.
        cpu_flops: f.
        compression: eta.
        power_w: P.
        rate_bps: of the uplink at the end of the way; 0 makes the last stage endless.
        kappa: sensing information rate, nat/s.
        drawn_bits: raw bits of each agent with ``raw_mode="fixed"``.

    Returns:
        All arguments broadcast together; with a rotary wing hovering counts in the stages at rest
        (with ``overlap_proc_move``, in processing beyond the time of the move).
    """
    bits = raw_bits(sensing_s, drawn_bits, params)
    work = bits * work_per_bit(compression, params)
    sent = compression * bits
    stand_w = params.standing_power_w
    times = [
        move_m / speed_mps,
        sensing_s,
        work / cpu_flops,
        approach_m / speed_mps,
        torch.where(sent > 0.0, sent / rate_bps, 0.0),
    ]
    times = list(torch.broadcast_tensors(*times))
    still = times[2]
    if params.overlap_proc_move:
        still = (times[2] - times[3]).clamp_min(0.0)
    energies = [
        params.motion.energy_j(move_m, speed_mps),
        (params.sensing_power_w + stand_w) * times[1],
        params.cpu_capacitance * cpu_flops.square() * work + stand_w * still,
        params.motion.energy_j(approach_m, speed_mps),
        (power_w / params.pa_efficiency + params.circuit_power_w + stand_w) * times[4],
    ]
    info = information(kappa, sensing_s, compression, params.compression_loss)
    return Cycle(
        torch.stack(times, -1),
        torch.stack(list(torch.broadcast_tensors(*energies)), -1),
        info,
        bits,
        work,
        sent,
    )
