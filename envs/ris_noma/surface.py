"""The optimiser of the surface: phases for given demands and order.

Fixed iteration counts, no host synchronisation, no in-place writes. With one antenna and least
power the cost is closed and its exponents are taken relative to the largest, so float32 serves;
otherwise cost and gradient are computed in float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.access import log_min_received
from sixgym.envs.backend.complex import Complex
from sixgym.envs.ris_noma.channel import Estimate, gain_of
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.optimisers import double_precision, order_cost

TRIES = 8
"""Step sizes compared in one iteration."""


class SurfaceCost:
    """Cost of phases at given demands and order: the energy of uncapped powers, or air time.

    One antenna and least power: ``F(v) = sum_k Q_k / |h_k(v)|^2`` with received powers Q that do
    not depend on the channel, divided by the largest. Otherwise the cost of `order_cost`, in
    float64, with its gradient by automatic differentiation.

    Args:
        model: the constants.
        links: direct and cascaded channels.
        bits: (rows, users) demands.
        order: (rows, users) int64.
    """

    def __init__(self, model: Model, links: Estimate, bits: Tensor, order: Tensor) -> None:
        self.closed = model.antennas == 1 and not model.fixed_power
        self.dtype = bits.dtype if self.closed else torch.float64
        rows, elements = bits.shape[0], model.elements
        direct, cascaded = links.direct, links.cascaded
        if not self.closed:
            direct, cascaded = double_precision(direct), double_precision(cascaded)
        self._order, self._elements = order, elements
        self._outputs = (model.users, model.antennas)
        # Real form of h = d + A v: one matrix product for any number of candidate surfaces.
        a_re, a_im = (part.transpose(2, 3).reshape(rows, -1, elements) for part in cascaded)
        top, bottom = torch.cat([a_re, -a_im], -1), torch.cat([a_im, a_re], -1)
        self._matrix = torch.cat([top, bottom], 1)
        self._transposed = self._matrix.transpose(1, 2)
        self._offset = torch.cat([direct.re.flatten(1), direct.im.flatten(1)], 1).unsqueeze(-1)
        if self.closed:
            logs = log_min_received(model.beta * bits, order)
            self._weight = torch.exp(logs - logs.amax(-1, keepdim=True)).unsqueeze(-1)
        else:
            self._cost = order_cost(model, bits.double())

    def stack(self, surface: Tensor) -> Tensor:
        """A surface (rows, 2, elements) in the form used here, (rows, 2 elements, 1)."""
        return surface.to(self.dtype).flatten(1).unsqueeze(-1)

    def unstack(self, phasors: Tensor) -> Tensor:
        """The inverse of `stack`."""
        return phasors.reshape(-1, 2, self._elements)

    def channels(self, phasors: Tensor) -> Tensor:
        """(rows, 2 users antennas, tries) channels of surfaces (rows, 2 elements, tries)."""
        return torch.baddbmm(self._offset, self._matrix, phasors)

    def of_channels(self, channels: Tensor) -> Tensor:
        """(rows, tries) cost of `channels`."""
        re, im = channels.chunk(2, 1)
        if self.closed:
            gain = gain_of(Complex(re, im)).clamp_min(1e-30)
            return (self._weight / gain).sum(1)
        users, antennas = self._outputs
        shaped = [part.transpose(1, 2).unflatten(-1, (users, antennas)) for part in (re, im)]
        order = self._order.unsqueeze(1).expand(-1, shaped[0].shape[1], -1)
        return self._cost(Complex(*shaped), order)

    def descent(self, phasors: Tensor) -> Tensor:
        """Direction of steepest descent ``z = -dF/dv*`` up to a factor, (rows, 2 elements, 1)."""
        if self.closed:
            channels = self.channels(phasors)
            re, im = channels.chunk(2, 1)
            gain = gain_of(Complex(re, im)).clamp_min(1e-30)
            pull = self._weight / gain / gain
            return torch.bmm(self._transposed, torch.cat([pull, pull], 1) * channels)
        with torch.enable_grad():
            free = phasors.detach().requires_grad_()
            value = self.of_channels(self.channels(free)).sum()
            (gradient,) = torch.autograd.grad(value, free)
        return -gradient


def optimal_surface(
    model: Model, links: Estimate, surface: Tensor, bits: Tensor, order: Tensor
) -> Tensor:
    """Phases that lower the slot's cost, by minorisation-maximisation from the held ones.

    Each iteration sets ``v <- exp(j angle(mu mean|z| v + z))`` for all elements at once, z being
    the descent direction; of the steps mu, 2 mu, ... (from 1) the first that does not raise the
    cost is taken, after which mu is halved. Monotone by construction. A surface with few bits is
    then rounded to its grid and improved by one sweep over its elements.

    Args:
        model: the constants.
        links: direct and cascaded channels.
        surface: (rows, 2, elements) to start from.
        bits: (rows, users) demands; some user of every row must have one.
        order: (rows, users) int64.

    Returns:
        (rows, 2, elements), unit modulus.
    """
    cost = SurfaceCost(model, links, bits, order)
    phasors = cost.stack(surface)
    value = cost.of_channels(cost.channels(phasors))
    step = torch.zeros_like(value)
    double = torch.tensor([2.0**i for i in range(TRIES)], dtype=cost.dtype, device=bits.device)
    first = torch.cat([torch.zeros_like(double[:1]), double[:-1]])
    for _ in range(model.params.ris_iterations):
        phasors, value, step = _mm_iteration(cost, phasors, value, step, double, first)
    best = cost.unstack(phasors).to(surface.dtype)
    if not model.params.ris_bits:
        return best
    levels = 2**model.params.ris_bits
    width = 2.0 * math.pi / levels
    phase = torch.round(torch.atan2(best[:, 1], best[:, 0]) / width) * width
    grid = torch.stack([torch.cos(phase), torch.sin(phase)], 1)
    return coordinate_descent(cost, grid, levels, sweeps=1, refine=False)


def _mm_iteration(
    cost: SurfaceCost, phasors: Tensor, value: Tensor, step: Tensor, double: Tensor, first: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One iteration; all its step sizes are tried together, the first that serves is taken."""
    pull = cost.descent(phasors)
    size = _modulus(pull).mean(1, keepdim=True)
    steps = torch.maximum(step * double, first)
    candidates = _unit(torch.addcmul(pull, steps.unsqueeze(1) * size, phasors))
    values = cost.of_channels(cost.channels(candidates))
    serves = values <= value
    found = serves.any(-1, keepdim=True)
    index = serves.to(torch.int8).argmax(-1, keepdim=True)
    chosen = candidates.gather(2, index.unsqueeze(1).expand(-1, candidates.shape[1], -1))
    phasors = torch.where(found.unsqueeze(1), chosen, phasors)
    value = torch.where(found, values.gather(1, index), value)
    step = torch.where(found, steps.gather(1, index), 2.0 * steps[:, -1:])
    return phasors, value, torch.where(step < 1.0, 0.0, 0.5 * step)


def coordinate_descent(
    cost: SurfaceCost, surface: Tensor, levels: int, sweeps: int, refine: bool
) -> Tensor:
    """Phases improved one element after another: monotone, exact on a grid of phases.

    Args:
        cost: what is minimised.
        surface: (rows, 2, elements) to start from.
        levels: phases tried for each element, evenly spaced, besides the one it has.
        sweeps: passes over the elements.
        refine: improve the best by the vertex of a parabola through it and its neighbours.

    Returns:
        (rows, 2, elements) in the dtype of ``surface``.
    """
    phasors = cost.stack(surface)
    elements = surface.shape[-1]
    angles = torch.arange(levels, dtype=cost.dtype, device=surface.device)
    angles = angles * (2.0 * math.pi / levels)
    for _ in range(sweeps):
        for n in range(elements):
            phasors = _best_phase(cost, phasors, n, elements, angles, refine)
    return cost.unstack(phasors).to(surface.dtype)


def _best_phase(
    cost: SurfaceCost, phasors: Tensor, n: int, elements: int, angles: Tensor, refine: bool
) -> Tensor:
    """The surfaces with the phase of element n replaced by the best one found."""
    levels = angles.shape[0]
    tried = _with_phase(phasors, n, elements, angles.expand(phasors.shape[0], -1))
    candidates = torch.cat([tried, phasors], -1)
    values = cost.of_channels(cost.channels(candidates))
    if refine:
        at_grid = values[:, :levels]
        best = at_grid.argmin(-1, keepdim=True)
        below = at_grid.gather(1, (best - 1) % levels)
        above = at_grid.gather(1, (best + 1) % levels)
        bend = (below + above - 2.0 * at_grid.gather(1, best)).clamp_min(
            torch.finfo(cost.dtype).tiny
        )
        vertex = angles[best] + (math.pi / levels) * (below - above) / bend
        finer = _with_phase(phasors, n, elements, vertex)
        candidates = torch.cat([candidates, finer], -1)
        values = torch.cat([values, cost.of_channels(cost.channels(finer))], -1)
    # The held phase wins ties, so that a sweep that finds nothing changes nothing.
    order = torch.cat([values[:, levels : levels + 1], values], -1).argmin(-1, keepdim=True)
    index = torch.where(order == 0, levels, order - 1)
    return candidates.gather(2, index.unsqueeze(1).expand(-1, candidates.shape[1], -1))


def _with_phase(phasors: Tensor, n: int, elements: int, angle: Tensor) -> Tensor:
    """(rows, 2 elements, tries): the surfaces with element n at the given phases (rows, tries)."""
    tries = angle.shape[-1]
    parts = phasors.expand(-1, -1, tries)
    re, im = torch.cos(angle).unsqueeze(1), torch.sin(angle).unsqueeze(1)
    middle = elements + n
    return torch.cat([parts[:, :n], re, parts[:, n + 1 : middle], im, parts[:, middle + 1 :]], 1)


def _modulus(phasors: Tensor) -> Tensor:
    """(rows, elements, tries) modulus of (rows, 2 elements, tries)."""
    re, im = phasors.chunk(2, 1)
    return gain_of(Complex(re, im)).sqrt()


def _unit(phasors: Tensor) -> Tensor:
    """Phasors of unit modulus in the same directions; 1e-30 keeps float32 from 0 / 0."""
    size = _modulus(phasors).clamp_min(1e-30)
    return phasors / torch.cat([size, size], 1)
