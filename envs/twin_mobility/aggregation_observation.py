"""What agents of `sixgym/AgentAggregation-v0` see, and what one controller of all sees.

An agent's own block is in the controller's observation as it is; what it sees of the others follows
from their own blocks and the Jaccard indices, so the controller is given those alone and
`Observer.rebuild` makes every agent's observation of them.

=========== ======= ================================================================================
own block   offset  meaning
=========== ======= ================================================================================
off centre  0, 1    (p - c) / R
centre      2, 3    c / W
radius      4       R / 100 m
payload     5       L / L_ref, L_ref being twice the largest first payload
redundancy  6       rho of the load
sources     7       share of all agents whose knowledge the payload holds
active      8       1, or 0 of who has handed over
round       9       rounds played over K
=========== ======= ================================================================================

=========== ======= ================================================================================
of another  offset  meaning
=========== ======= ================================================================================
relative    0, 1    (p_j - p) / W
payload     2       as above
sources     3       as above
Jaccard     4       index of both accumulated areas
gain        5       (lg h + 9) / 5
active      6       as above
off mean    7       |p_j - mean of the active agents| / W
=========== ======= ================================================================================
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import centroid, distances
from sixgym.envs.twin_mobility.aggregation_state import AggregationState
from sixgym.envs.twin_mobility.link import gain

OWN, OTHER = 10, 8
"""Numbers of the own block, and of each other agent."""
BOUND = 5.0
"""Observations are clipped to plus and minus this."""
OFF, CENTRE, RADIUS = slice(0, 2), slice(2, 4), 4
PAYLOAD, REDUNDANCY, SOURCES, ACTIVE, ROUND = range(5, OWN)
RADIUS_UNIT_M = 100.0
_GAIN_CENTRE, _GAIN_SCALE = 9.0, 5.0


class Observer:
    """Observations of one system.

    Args:
        params: the units.
    """

    def __init__(self, params: AgentAggregationParams) -> None:
        self._p = params
        self.payload_unit_bit = 2.0 * params.payload_range_bit[1]
        self.size = OWN + OTHER * (params.num_agents - 1)
        """Numbers that an agent sees: 82 of ten agents."""

    def own(self, state: AggregationState) -> Tensor:
        """(rows, N, 10) float32 own blocks."""
        p = self._p
        round_share = (state.round / p.rounds).unsqueeze(1).expand_as(state.radius)
        columns = [
            *((state.position - state.centre) / state.radius.unsqueeze(-1)).unbind(-1),
            *(state.centre / p.area_m).unbind(-1),
            state.radius / RADIUS_UNIT_M,
            state.payload_bit / self.payload_unit_bit,
            state.redundancy,
            state.num_sources() / p.num_agents,
            state.active,
            round_share,
        ]
        block = torch.stack([c.to(state.radius.dtype) for c in columns], -1)
        return block.clamp(-BOUND, BOUND).to(torch.float32)

    def agents(self, state: AggregationState) -> Tensor:
        """(rows, N, 10 + 8 (N - 1)) float32: the own block, then the others in order of seats."""
        return self._with_others(self.own(state), state.position, state.jaccard)

    def rebuild(self, own: Tensor, jaccard: Tensor) -> Tensor:
        """What `agents` gives, from the controller's observation; differs by rounding alone.

        Args:
            own: (rows, N, 10).
            jaccard: (rows, N, N).
        """
        centre = own[..., CENTRE] * self._p.area_m
        position = centre + own[..., OFF] * (own[..., RADIUS] * RADIUS_UNIT_M).unsqueeze(-1)
        return self._with_others(own, position, jaccard)

    def _with_others(self, own: Tensor, position: Tensor, jaccard: Tensor) -> Tensor:
        p = self._p
        active = own[..., ACTIVE] > 0.5
        relative = (position.unsqueeze(1) - position.unsqueeze(2)) / p.area_m
        distance = distances(position).clamp_min(p.distance_min_m)
        decades = gain(distance, p.gain_1m, p.path_loss_exponent).log10()
        off = (position - centroid(position, active).unsqueeze(1)).square().sum(-1).sqrt()
        columns = [
            *relative.unbind(-1),
            self._to_all(own[..., PAYLOAD]),
            self._to_all(own[..., SOURCES]),
            jaccard,
            (decades + _GAIN_CENTRE) / _GAIN_SCALE,
            self._to_all(own[..., ACTIVE]),
            self._to_all(off / p.area_m),
        ]
        table = torch.stack([c.to(position.dtype) for c in columns], -1)
        others = without_diagonal(table).flatten(2)
        clipped = others.clamp(-BOUND, BOUND).to(torch.float32)
        return torch.cat([own, clipped], -1)

    @staticmethod
    def _to_all(value: Tensor) -> Tensor:
        """(rows, N) of the one who is seen, as (rows, N, N) by who sees."""
        return value.unsqueeze(1).expand(-1, value.shape[1], -1)


def without_diagonal(table: Tensor) -> Tensor:
    """(rows, N, N, ...) without the entries (i, i): (rows, N, N - 1, ...)."""
    rows, count, rest = table.shape[0], table.shape[1], table.shape[3:]
    # Behind the first entry every (N + 1)-th of the flat table is one of the diagonal.
    flat = table.reshape(rows, count * count, *rest)[:, 1:]
    kept = flat.reshape(rows, count - 1, count + 1, *rest)[:, :, :-1]
    return kept.reshape(rows, count, count - 1, *rest)
