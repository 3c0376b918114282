"""The constants of the RIS-NOMA model: parameters turned into what the equations use."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.access import LN2
from sixgym.envs.backend.fading import (
    linear_array,
    planar_array,
    rician_weights,
    steering,
    wavelength,
)
from sixgym.envs.ris_noma.params import RisNomaBaseParams, RisNomaSelectParams

TINY = 1e-30
"""Gains are at least this, so that logarithms are finite in float32."""


class Model:
    """The constants of the model: parameters turned into what the equations use.

    Args:
        params: the parameters.
        dtype: of the constant tensors.
        device: where they live.
    """

    def __init__(
        self, params: RisNomaBaseParams, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.params = params
        self.dtype = dtype
        self.device = torch.device(device)
        self.users = params.num_users
        self.elements = params.num_elements
        self.antennas = params.num_antennas
        self.window = params.window_slots
        self.compute_s = params.compute_share * params.slot_s
        self.transmit_s = (1.0 - params.compute_share) * params.slot_s
        self.beta = LN2 / (params.bandwidth_hz * self.transmit_s)
        """Nats per channel use of one bit in a slot, 1/bit."""
        self.cycle_budget = params.max_cpu_hz * self.compute_s
        self.static_j = params.slot_s * (
            params.num_users * params.circuit_power_w
            + params.num_elements * params.ris_element_power_w
        )
        """Energy of a slot that no decision changes, J."""
        self.fixed_power = params.tx_mode == "fixed_power"
        self.follows_backlog = isinstance(params, RisNomaSelectParams) and params.hold == "queue"
        """Whether the volume is always the one of the "optimal available" rule."""
        self.mean_user_bits = params.mean_arrival_bits
        """Bits that arrive in a slot on average, one user."""
        self.mean_bits = params.num_users * self.mean_user_bits
        """Bits that arrive in a slot on average, all users."""
        users, elements, antennas = self.users, self.elements, self.antennas
        self.link_sizes = [users * antennas, elements * antennas, users * elements]
        self.error_links = users * antennas * (1 + elements) if params.csi_error > 0.0 else 0
        self.num_links = sum(self.link_sizes)
        self.hears_gains = antennas == 1 and not self.error_links
        """Whether `State.gain` holds what the observation needs to know of the links."""
        self._place_arrays()
        # Constants of the hot path are tensors: with a Python number an operation takes twice as
        # long on a single row.
        p = params
        self.one = self.constant(1.0)
        self.zero = self.constant(0.0)
        self.tiny_gain = self.constant(TINY)
        self.nats_per_bit = self.constant(self.beta)
        self.bits_per_nat = self.constant(1.0 / self.beta)
        self.power_cap_w = self.constant(p.max_power_w)
        self.amplifier_s = self.transmit_s / p.amplifier_efficiency
        """Energy drawn in a slot per watt on the air, s."""
        self.volume_budget = self.constant(self.cycle_budget / p.cycles_per_bit)
        """Raw bits that can be extracted in a slot at a workload of 1."""
        if p.cpu_law == "linear":
            price = p.energy_per_cycle_j * p.cycles_per_bit
        else:
            price = p.cycles_per_bit * (p.switched_capacitance / self.compute_s**2) ** (1.0 / 3.0)
        self.compute_price = price
        """Times x phi: the compute energy (linear law), or its cube root (dvfs)."""
        self.static_energy_j = self.constant(self.static_j)
        self.least_rho = self.constant(p.rho_min)
        sizes = torch.tensor([2 * users, elements, users], device=self.device)
        self.action_offset = torch.tensor(
            [0.5, 0.0, 0.0], dtype=dtype, device=self.device
        ).repeat_interleave(sizes)
        """With `action_scale`: an action's shares in [0, 1], phases in rad, and ranks."""
        self.action_scale = torch.tensor(
            [0.5, math.pi, -1.0], dtype=dtype, device=self.device
        ).repeat_interleave(sizes)

    def constant(self, value: float) -> Tensor:
        """A number as a tensor of no axes, in the model's dtype and place."""
        return torch.tensor(value, dtype=self.dtype, device=self.device)

    def _place_arrays(self) -> None:
        """Positions of the antennas and elements, and the constant parts of the links."""
        p = self.params
        self.wavelength_m = wavelength(p.carrier_hz)
        spacing = self.wavelength_m / 2.0
        ap = torch.tensor([0.0, 0.0, p.ap_height_m], dtype=torch.float64)
        ris = torch.tensor([p.ris_x_m, p.ris_y_m, p.ris_height_m], dtype=torch.float64)
        self.ap_position = ap.to(self.device)
        self.ris_position = ris.to(self.device)
        self.antenna_position = linear_array(self.ap_position, spacing, self.antennas, axis=1)
        self.element_position = planar_array(self.ris_position, spacing, self.elements)
        distance = float(torch.linalg.vector_norm(ap - ris))
        self.ris_ap_gain = self.path_gain(distance, p.exponent_ris_ap) / p.noise_power_w
        phasor = steering(self.element_position, self.antenna_position, self.wavelength_m)
        steady, moving = rician_weights(p.rician_ris_ap)
        amplitude = math.sqrt(self.ris_ap_gain)
        los = torch.stack([phasor.re.flatten(), phasor.im.flatten()]) * (steady * amplitude)
        self.ris_ap_los = los.to(self.device, self.dtype)
        self.ris_ap_scatter = moving * amplitude

    def path_gain(self, distance_m: float, exponent: float) -> float:
        """Power gain ``C0 D^-a`` of the log-distance law [standard]."""
        return float(self.params.reference_gain * max(distance_m, 1e-3) ** -exponent)
