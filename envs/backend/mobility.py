"""Power and energy of moving: polynomial motors on wheels, rotary wings in the air.

A model says what power a constant speed takes; time, energy and the energy of a metre follow. Both
are smooth, take tensors of any shape and draw no power for a way of length 0.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

SLOWEST_MPS = 1e-9
"""Speed that stands for 0 where a time or an energy is divided by it, m/s."""
_SEARCH_STEPS = 200


class Motion(ABC):
    """Base of the motion models: a power curve, and what follows from it."""

    @property
    def standing_power_w(self) -> float:
        """Power of staying at a place while at work, W."""
        return 0.0

    @property
    @abstractmethod
    def best_speed_mps(self) -> float:
        """Speed of the least energy a metre, m/s; infinity where faster is always better."""

    @abstractmethod
    def power_w(self, speed_mps: Tensor) -> Tensor:
        """Power at a constant speed, W.

        Args:
            speed_mps: v > 0, m/s, any shape.
        """

    def energy_per_metre(self, speed_mps: Tensor) -> Tensor:
        """Energy P(v) / v of a metre, J/m; arguments as `power_w`."""
        return self.power_w(speed_mps) / speed_mps.clamp_min(SLOWEST_MPS)

    def energy_j(self, distance_m: Tensor, speed_mps: Tensor) -> Tensor:
        """Energy of a straight way at constant speed, J; 0 for a way of length 0.

        Args:
            distance_m: d >= 0, m.
            speed_mps: v > 0, m/s, broadcast with it.
        """
        return distance_m * self.energy_per_metre(speed_mps)


@dataclass(frozen=True)
class PolynomialMotion(Motion):
    """Wheels: P(v) = P_s + k1 v + k2 v^2. [standard: Mei, Lu, Hu, Lee, ICRA 2004].

    Attributes:
        static_w: P_s >= 0, W, drawn while moving only.
        linear_j_per_m: k1 >= 0, J/m.
        quadratic: k2 >= 0, W s^2/m^2.
    """

    static_w: float
    linear_j_per_m: float
    quadratic: float

    def __post_init__(self) -> None:
        for name in ("static_w", "linear_j_per_m", "quadratic"):
            value = getattr(self, name)
            if not value >= 0.0:
                raise ValueError(f"{name} = {value}, must be >= 0")

    @property
    def best_speed_mps(self) -> float:
        """sqrt(P_s / k2): 5 m/s for 0.5 W and 0.02 W s^2/m^2. [derived]."""
        return math.sqrt(self.static_w / self.quadratic) if self.quadratic > 0.0 else math.inf

    def power_w(self, speed_mps: Tensor) -> Tensor:
        """P_s + k1 v + k2 v^2."""
        return self.static_w + speed_mps * (self.linear_j_per_m + self.quadratic * speed_mps)

    def energy_per_metre(self, speed_mps: Tensor) -> Tensor:
        """P_s / v + k1 + k2 v; twice and half the best speed cost the same."""
        inverse = self.static_w / speed_mps.clamp_min(SLOWEST_MPS)
        return inverse + self.linear_j_per_m + self.quadratic * speed_mps


@dataclass(frozen=True)
class RotaryWing(Motion):
    """A rotary wing in straight level flight. [standard: Zeng, Xu, Zhang, TWC 2019].

    Attributes:
        blade_w: P0, blade profile power in hovering, W.
        induced_w: P_i, induced power in hovering, W.
        tip_speed_mps: U, speed of the rotor blade's tip, m/s.
        induced_speed_mps: v0, mean rotor induced velocity in hovering, m/s.
        drag_ratio: d0, fuselage drag ratio.
        air_density: rho, kg/m^3.
        solidity: s, rotor solidity.
        disc_area_m2: A, rotor disc area, m^2.
    """

    blade_w: float = 79.8563
    induced_w: float = 88.6279
    tip_speed_mps: float = 120.0
    induced_speed_mps: float = 4.03
    drag_ratio: float = 0.6
    air_density: float = 1.225
    solidity: float = 0.05
    disc_area_m2: float = 0.503

    @property
    def standing_power_w(self) -> float:
        """Hovering: P0 + P_i, 168.4842 W."""
        return self.blade_w + self.induced_w

    @cached_property
    def best_speed_mps(self) -> float:
        """Maximum-range speed argmin P(v) / v: 18.2951 m/s, 8.828728 J/m. [derived]."""
        return self._argmin(over_speed=True)

    @cached_property
    def endurance_speed_mps(self) -> float:
        """Minimum-power speed argmin P(v): 10.2125 m/s, 126.0027 W. [derived]."""
        return self._argmin(over_speed=False)

    def power_w(self, speed_mps: Tensor) -> Tensor:
        """Blade profile, induced and parasite power."""
        square = speed_mps * speed_mps
        ratio = square / (2.0 * self.induced_speed_mps**2)
        blade = self.blade_w * (1.0 + 3.0 * square / self.tip_speed_mps**2)
        # sqrt(1 + r^2) - r without the cancellation at high speed.
        induced = self.induced_w * ((1.0 + ratio * ratio).sqrt() + ratio).rsqrt()
        drag = self.drag_ratio * self.air_density * self.solidity * self.disc_area_m2
        return blade + induced + 0.5 * drag * square * speed_mps

    def _argmin(self, *, over_speed: bool) -> float:
        """Minimiser of P(v), or of P(v) / v, over speeds below the blade tip's, by ternary search.

        Both are unimodal there.
        """
        low, high = 1e-3, self.tip_speed_mps
        for _ in range(_SEARCH_STEPS):
            third = (high - low) / 3.0
            pair = torch.tensor([low + third, high - third], dtype=torch.float64)
            value = self.energy_per_metre(pair) if over_speed else self.power_w(pair)
            if value[0] < value[1]:
                high -= third
            else:
                low += third
        return 0.5 * (low + high)
