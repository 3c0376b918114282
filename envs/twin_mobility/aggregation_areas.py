"""Areas of unions of patrol discs, counted on a raster, and the Jaccard indices made of them.

An agent's accumulated area is the union of the discs of its sources. All that is ever asked of
areas is how many cells such unions have, so no raster is kept: at the start of an episode the cells
are sorted by the set of discs that cover them, and the number of cells of the union of every one of
the 2^N sets of discs is tabled. The area of a union is then one look-up by the bits of its sources,
exactly what counting on the raster gives: 4 KiB a row for ten agents instead of N boolean rasters.

The raster is scanned line by line: a disc covers one span of cells of a line, between the borders
of the spans the covering set does not change, so a line costs 2 N borders, not its cells. Many
lines are sorted at once by a sorting network, whose comparisons are the same for all lines and
fuse when compiled.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams

FEW_ROWS = 64
"""Below it, and on an accelerator, one sort is made: a network is hundreds of calls."""


def sorting_network(size: int) -> list[tuple[int, int]]:
    """Comparisons that sort: merge exchange [standard: Knuth, TAOCP 3, 5.2.2, algorithm M].

    Args:
        size: how many numbers, at least 1.

    Returns:
        Places (i, j), i < j, in order: the smaller of the two numbers goes to i, the larger to j.
    """
    found = []
    width = 1 << (size - 1).bit_length() >> 1
    part = width
    while part:
        far, rest, gap = width, 0, part
        while True:
            found += [(i, i + gap) for i in range(size - gap) if i & part == rest]
            if far == part:
                break
            gap, far, rest = far - part, far >> 1, part
        part >>= 1
    return found


class Raster:
    """The raster of a system: square cells over the area and its margin.

    A cell belongs to a disc if its centre is within the radius. Arithmetic is in float64, so that
    both dtypes of the system count the same cells.

    Args:
        params: area, margin, cell and number of agents.
        device: where the tables live.
    """

    def __init__(self, params: AgentAggregationParams, device: torch.device | str = "cpu") -> None:
        self.num_discs = params.num_agents
        self.side = params.side_cells
        self.cell_m = params.cell_m
        self.first_m = 0.5 * params.cell_m - params.margin_m
        """x and y of the centre of the first cell."""
        index = torch.arange(self.side, dtype=torch.float64, device=device)
        self.centre_m = self.first_m + self.cell_m * index
        """(side,) x of the cells of a line, and y of the lines."""
        self._line = index
        disc = torch.arange(self.num_discs, dtype=torch.int32, device=device)
        self._half = 1 << (self.num_discs - 1).bit_length()
        self._place = (2 * self._half).bit_length() - 1
        """How many bits of a packed border are its owner."""
        self._owner = torch.cat([disc, self._half + disc]).unsqueeze(-1)
        """Of the first borders, then of the last ones."""
        bits = 2 ** torch.arange(self._half, dtype=torch.int32, device=device)
        self._steps = torch.cat([bits, -bits])
        """How the covering set changes at a border, by its owner."""
        self._one = bits[0]
        self._network = sorting_network(2 * self.num_discs)

    @property
    def num_cells(self) -> int:
        """Cells G: 19,600 by default."""
        return self.side**2

    def spans(self, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The cells of each line that a disc covers; discs lie within the raster.

        Args:
            centre: (rows, N, 2) m.
            radius: (rows, N) m.

        Returns:
            (rows, N, side) int32 first cell, and the one after the last; equal where there is none.
        """
        x, y = ((centre.double() - self.first_m) / self.cell_m).unsqueeze(-1).unbind(2)
        square = (radius.double() / self.cell_m).square().unsqueeze(-1)
        square = square - (self._line - y).square()
        half = square.clamp_min(0.0).sqrt()
        is_crossed = (square >= 0.0).to(torch.int32)
        first = (x - half).ceil().to(torch.int32) * is_crossed
        last = ((x + half).floor().to(torch.int32) + 1) * is_crossed
        return first, last

    def counts(self, centre: Tensor, radius: Tensor) -> Tensor:
        """How many cells are covered by exactly each set of discs.

        Args:
            centre: (rows, N, 2) m.
            radius: (rows, N) m.

        Returns:
            (rows, 2^N) int32; the set is the index's bits, disc i being bit i.
        """
        first, last = self.spans(centre, radius)
        # Place and owner of a border in one integer, so that one sort orders both.
        packed = (torch.cat([first, last], 1) << self._place) | self._owner
        is_many = len(packed) >= FEW_ROWS and packed.device.type == "cpu"
        covering, length = self._by_network(packed) if is_many else self._by_sort(packed)
        found = length.new_zeros((len(length), 2**self.num_discs))
        found.scatter_add_(1, covering.flatten(1).to(torch.int64), length.flatten(1))
        found[:, 0] = self.num_cells - found[:, 1:].sum(1, dtype=torch.int32)
        return found

    def _by_sort(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Covering sets and lengths of the pieces of lines, (rows, 2 N - 1, side) int32."""
        packed = packed.transpose(1, 2).sort(-1).values.transpose(1, 2)
        place = packed >> self._place
        owner = packed - (place << self._place)
        covering = self._steps[owner.to(torch.int64)].cumsum(1, dtype=torch.int32)
        return covering[:, :-1], place[:, 1:] - place[:, :-1]

    def _by_network(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The same."""
        borders = list(packed.unbind(1))
        for i, j in self._network:
            low, high = borders[i], borders[j]
            borders[i], borders[j] = torch.minimum(low, high), torch.maximum(low, high)
        places = [border >> self._place for border in borders]
        covering = torch.zeros_like(places[0])
        sets = []
        for border in borders[:-1]:
            # A border of a disc puts it into the set or takes it out.
            covering = covering ^ (self._one << (border & (self._half - 1)))
            sets.append(covering)
        lengths = [right - left for left, right in pairwise(places)]
        return torch.stack(sets, 1), torch.stack(lengths, 1)

    def union_cells(self, centre: Tensor, radius: Tensor, dtype: torch.dtype) -> Tensor:
        """Cells of the union of every set of discs.

        Args:
            centre: (rows, N, 2) m.
            radius: (rows, N) m.
            dtype: of the result; integers below 2^24, so exact in float32.

        Returns:
            (rows, 2^N); the set is the index's bits.
        """
        within = self.counts(centre, radius)
        rows, low = len(within), self.num_discs // 2
        high = self.num_discs - low
        # Cells covered by no disc outside the set: a sum over all subsets, bit by bit. The upper
        # bits first, then, transposed, the lower ones, so that what is added lies side by side.
        for bits, others in ((high, low), (low, high)):
            for i in range(bits):
                without, with_it = within.reshape(rows, -1, 2, 2 ** (i + others)).unbind(2)
                within = torch.stack([without, without + with_it], 2)
            within = within.reshape(rows, 2**bits, 2**others).transpose(1, 2).contiguous()
        # A cell is in the union unless it is covered by none but the others.
        return (self.num_cells - within.reshape(rows, -1).flip(1)).to(dtype)

    def masks(self, centre: Tensor, radius: Tensor) -> Tensor:
        """The cells of each disc, (rows, N, side, side) bool, lines (y) first."""
        first, last = (t.unsqueeze(-1) for t in self.spans(centre, radius))
        cell = torch.arange(self.side, dtype=torch.int32, device=first.device)
        return (cell >= first) & (cell < last)


def union_jaccard(union_cells: Tensor, sources: Tensor) -> Tensor:
    """Jaccard indices of the accumulated areas of all pairs of agents.

    Args:
        union_cells: (rows, 2^N) from `Raster.union_cells`.
        sources: (rows, N) int64, bits of the discs of each agent; 0 for none.

    Returns:
        (rows, N, N) |A and A'| / |A or A'|; 0 where either has no area.
    """
    own = union_cells.gather(1, sources)
    both = sources.unsqueeze(2) | sources.unsqueeze(1)
    union = union_cells.gather(1, both.flatten(1)).view(both.shape)
    shared = own.unsqueeze(2) + own.unsqueeze(1) - union
    return shared / union.clamp_min(1.0)


def mask_jaccard(masks: Tensor) -> Tensor:
    """The same of boolean rasters, counted by one product of 0/1 matrices.

    Args:
        masks: (rows, N, ...) bool.

    Returns:
        (rows, N, N) float32.
    """
    flat = masks.flatten(2).to(torch.float32)
    shared = flat @ flat.transpose(1, 2)
    own = shared.diagonal(dim1=1, dim2=2)
    union = own.unsqueeze(2) + own.unsqueeze(1) - shared
    return shared / union.clamp_min(1.0)


def lens_area(distance_m: float, radius_m: float, other_m: float) -> float:
    """Area of the intersection of two discs, m^2.

    Of equal radii 2 R^2 acos(d / 2R) - (d / 2) sqrt(4 R^2 - d^2). [standard].
    """
    d, a, b = distance_m, radius_m, other_m
    if d >= a + b:
        return 0.0
    if d <= abs(a - b):
        return math.pi * min(a, b) ** 2
    first = a * a * math.acos((d * d + a * a - b * b) / (2.0 * d * a))
    second = b * b * math.acos((d * d + b * b - a * a) / (2.0 * d * b))
    kite = 0.5 * math.sqrt((-d + a + b) * (d + a - b) * (d - a + b) * (d + a + b))
    return first + second - kite


def disc_jaccard(distance_m: float, radius_m: float, other_m: float) -> float:
    """Jaccard index of two discs: .243010 for radii of 90 m at 90 m."""
    shared = lens_area(distance_m, radius_m, other_m)
    return shared / (math.pi * (radius_m**2 + other_m**2) - shared)
