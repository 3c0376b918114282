"""What every pair of thresholds achieves on a pool of events, counted exactly.

A score enters only by where it lies among the grid points. Whether an event is still inside after
exit n depends on two indices, those of its smallest and of its largest score so far, so a histogram
over both, summed from above, counts the events for all pairs at once: O(n + G^2) for an exit
[derived; the counts are those of the sorting argument of FREDI's Algorithm 1, arXiv 2609.15847].
They are whole numbers, and equal a loop over events and pairs exactly.

The tables depend on nothing of channel, energy or prevalence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import ParamsError
from sixgym.envs.event_offload.scores import EventPool, ServerMode, Split

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Grid = int | Literal["exact"]
"""Points of a uniform grid on [0, 1], or all scores that occur with 0 and 1."""
FinalRule = str | float
"""``head``, ``tail``, ``mid``, or a threshold of its own; see `sixgym.envs.event_offload.rule`."""
Semantics = Literal["detect_then_offload", "confident_local", "local_only"]

MAX_POINTS = 3_001
"""Of an exact grid: nine tables of its square fill 650 MB."""


class OperatingPoints(NamedTuple):
    """What pairs of thresholds achieve at a prevalence; flat arrays of one length."""

    low: Singles
    """Lower thresholds."""
    high: Singles
    """Upper thresholds."""
    f_acc: Floats
    """P(found and named right | tail)."""
    tpr: Floats
    """P(found | tail)."""
    fpr: Floats
    """P(declared tail or offloaded | head)."""
    p_off: Floats
    """P(offloaded), over all events."""
    mac: Floats
    """Mean multiply-accumulates per event."""
    f1: Floats
    """F1 of the detection, 2 TP / (2 TP + FP + FN); 0 where nothing is declared."""

    def take(self, index: Integers | NDArray[np.bool_]) -> OperatingPoints:
        """The points at some indices or under a mask."""
        return OperatingPoints(
            self.low[index],
            self.high[index],
            self.f_acc[index],
            self.tpr[index],
            self.fpr[index],
            self.p_off[index],
            self.mac[index],
            self.f1[index],
        )

    def energy(self, energy_per_mac_j: float, offload_energy_j: float | Floats) -> Floats:
        """Mean energy e = E_loc + P_off E_off per event in J.

        Args:
            energy_per_mac_j: device energy kappa.
            offload_energy_j: E_off at a channel state, or an array of them; infinite where there
                is no uplink.

        Returns:
            (points,), or (*states, points).
        """
        with np.errstate(invalid="ignore"):
            radio = np.multiply.outer(np.asarray(offload_energy_j, float), self.p_off)
        # Nothing is spent on what is never sent, whatever its price.
        return np.asarray(energy_per_mac_j * self.mac + np.where(self.p_off > 0.0, radio, 0.0))


@dataclass(frozen=True, eq=False)
class ThresholdTable:
    """Tables over (lower threshold, upper threshold); nan where the lower is above the upper."""

    grid: Singles
    """(G,) the thresholds, float32 as the scores."""
    tpr: Floats
    """(G, G) P(declared tail or offloaded | tail)."""
    fpr: Floats
    """(G, G) P(declared tail or offloaded | head)."""
    acc: Floats
    """(G, G) P(found and named right | tail), f_acc."""
    fpr_final: Floats
    """(G, G) P(still called tail at the end | head): false alarms that the server did not stop."""
    off_tail: Floats
    """(G, G) P(offloaded | tail); equals ``tpr`` if every declared tail is offloaded."""
    off_head: Floats
    """(G, G) P(offloaded | head)."""
    mac_tail: Floats
    """(G, G) mean multiply-accumulates of a tail event."""
    mac_head: Floats
    """(G, G) mean multiply-accumulates of a head event."""

    @cached_property
    def pairs(self) -> tuple[Integers, Integers]:
        """Row and column of every pair with lower <= upper, row by row."""
        low, high = np.triu_indices(len(self.grid))
        return low, high

    def p_off(self, prevalence: float) -> Floats:
        """(G, G) P(offloaded) = pi P(off | tail) + (1 - pi) P(off | head)."""
        return prevalence * self.off_tail + (1.0 - prevalence) * self.off_head

    def mac(self, prevalence: float) -> Floats:
        """(G, G) mean multiply-accumulates per event."""
        return prevalence * self.mac_tail + (1.0 - prevalence) * self.mac_head

    def nearest(self, threshold: float | Floats) -> Integers:
        """Index of the nearest grid point, the lower of two equally near."""
        middle = 0.5 * (self.grid[1:].astype(np.float64) + self.grid[:-1])
        return np.searchsorted(middle, threshold, side="left")

    def at(self, prevalence: float) -> OperatingPoints:
        """All pairs with lower <= upper, as flat arrays, row by row of the table.

        Args:
            prevalence: pi in [0, 1].
        """
        low, high = self.pairs
        tpr, fpr = self.tpr[low, high], self.fpr[low, high]
        return _points(
            self.grid[low],
            self.grid[high],
            tpr,
            fpr,
            self.acc[low, high],
            self.p_off(prevalence)[low, high],
            self.mac(prevalence)[low, high],
            prevalence,
        )


def _points(
    low: Singles,
    high: Singles,
    tpr: Floats,
    fpr: Floats,
    f_acc: Floats,
    p_off: Floats,
    mac: Floats,
    prevalence: float,
) -> OperatingPoints:
    positive = prevalence * tpr + (1.0 - prevalence) * fpr
    f1 = 2.0 * prevalence * tpr / np.maximum(positive + prevalence, 1e-300)
    return OperatingPoints(low, high, f_acc, tpr, fpr, p_off, mac, f1)


def threshold_grid(pool: EventPool, split: Split, grid: Grid) -> Singles:
    """The thresholds of a table, float32 and increasing from 0 to 1.

    Args:
        pool: its scores are the points of an exact grid.
        split: of which part.
        grid: number of points, or ``"exact"``. Counts change only at scores that occur, so the
            exact grid holds the best pair of all pairs.

    Raises:
        ParamsError: fewer than two points, or an exact grid of more than ``MAX_POINTS``.
    """
    if grid == "exact":
        ends = np.array([0.0, 1.0], np.float32)
        points = np.union1d(pool.conf[pool.part(split)], ends)
        if len(points) > MAX_POINTS:
            raise ParamsError(
                f"grid='exact': {len(points)} different scores; allowed: <= {MAX_POINTS}, "
                "or a number of points"
            )
        return points
    if not isinstance(grid, int) or isinstance(grid, bool) or grid < 2:
        raise ParamsError(f"grid={grid!r}: allowed: a number of points >= 2, or 'exact'")
    return np.linspace(0.0, 1.0, grid).astype(np.float32)


@lru_cache(maxsize=24)
def tabulate(
    pool: EventPool,
    split: Split = "calib",
    grid: Grid = 201,
    final_rule: FinalRule = "head",
    server_mode: ServerMode = "any",
    semantics: Semantics = "detect_then_offload",
) -> ThresholdTable:
    """Count what every pair of thresholds does to the events of a split; cached.

    Args:
        pool: the events.
        split: which of them.
        grid: the thresholds, see `threshold_grid`.
        final_rule: what an event undecided after the last exit is declared to be. Without effect
            in ``confident_local``, where it is offloaded.
        server_mode: whether the server may answer "head".
        semantics: ``detect_then_offload`` sends every declared tail; ``confident_local`` closes
            those above the upper threshold on the device and sends the undecided;
            ``local_only`` closes every declared tail on the device. On the device the sub-class
            is right with probability 1/K [our choice].

    Raises:
        ParamsError: an argument is none of these.
    """
    if semantics not in ("detect_then_offload", "confident_local", "local_only"):
        raise ParamsError(
            f"semantics={semantics!r}: unknown; allowed: 'detect_then_offload', "
            "'confident_local', 'local_only'"
        )
    points = threshold_grid(pool, split, grid)
    rule = _checked_rule("tail" if semantics == "confident_local" else final_rule)
    part = pool.part(split)
    tail, head = part & pool.tail, part & ~pool.tail
    named = pool.ok(server_mode), pool.answer(server_mode) > 0
    t = _count(pool.conf[tail], named[0][tail], points, rule, pool.macs)
    h = _count(pool.conf[head], named[1][head], points, rule, pool.macs)
    local = 1.0 / pool.num_classes
    tpr, fpr = t.upper + t.final, h.upper + h.final
    if semantics == "detect_then_offload":
        acc, alarm = t.upper_named + t.final_named, h.upper_named + h.final_named
        off = tpr, fpr
    elif semantics == "confident_local":
        acc, alarm = local * t.upper + t.final_named, h.upper + h.final_named
        off = t.final, h.final
    else:
        acc, alarm = local * tpr, fpr
        nothing = np.where(np.isnan(tpr), np.nan, 0.0)
        off = nothing, nothing
    return ThresholdTable(points, tpr, fpr, acc, alarm, off[0], off[1], t.mac, h.mac)


def _checked_rule(rule: FinalRule) -> FinalRule:
    number = isinstance(rule, int | float) and not isinstance(rule, bool)
    if rule in ("head", "tail", "mid") or (number and 0.0 <= float(rule) <= 1.0):
        return rule
    raise ParamsError(
        f"final_rule={rule!r}: unknown; allowed: 'head', 'tail', 'mid', or a threshold in [0, 1]"
    )


class _Counts(NamedTuple):
    """Shares of one class of events, (G, G) each."""

    upper: Floats  # above the upper threshold at some exit
    upper_named: Floats  # of these, marked by ``named``
    final: Floats  # undecided, declared tail by the final rule
    final_named: Floats
    mac: Floats


def _count(
    conf: Singles,
    named: NDArray[np.bool_],
    grid: Singles,
    rule: FinalRule,
    macs: Floats,
) -> _Counts:
    """Shares of the events (n, N) of one class, of whom some are marked by ``named`` (n,)."""
    exits, size = conf.shape[1], len(grid)
    # C < grid[i] <=> i >= below; C > grid[j] <=> j < above. Strict, in float32, ties included.
    # At exit n an event has stayed above grid[i] <=> below[n] > i, and crossed grid[j] <=>
    # above[n] > j.
    below = np.minimum.accumulate(np.searchsorted(grid, conf, side="right"), axis=1)
    above = np.maximum.accumulate(np.searchsorted(grid, conf, side="left"), axis=1)
    start, never = np.zeros(len(conf), np.int64), np.full(len(conf), size)

    def upper(chosen: NDArray[np.bool_]) -> Floats:
        """Events that stay above the lower threshold and cross the upper one for the first time."""
        change = np.zeros((size + 1, size + 1))
        before = start
        for n in range(exits):
            stay, now = below[chosen, n], above[:, n]
            change += _histogram(stay, now[chosen], size) - _histogram(stay, before[chosen], size)
            before = now
        return _both_above(change)

    def undecided(n: int, chosen: NDArray[np.bool_]) -> Floats:
        """Events that cross neither threshold up to exit n."""
        stay = below[chosen, n]
        return _both_above(
            _histogram(stay, never[chosen], size) - _histogram(stay, above[chosen, n], size)
        )

    def final(chosen: NDArray[np.bool_]) -> Floats:
        last = conf[:, -1]
        if rule == "head":
            return np.zeros((size, size))
        if rule == "tail":
            return undecided(exits - 1, chosen)
        if rule == "mid":
            return _above_middle(last[chosen], below[chosen, -1], above[chosen, -1], grid)
        return undecided(exits - 1, chosen & (last > np.float32(rule)))

    everyone = np.ones(len(conf), bool)
    blocks = np.diff(macs, prepend=0.0)
    cost = np.full((size, size), blocks[0] * len(conf))
    for n in range(1, exits):
        cost += blocks[n] * undecided(n - 1, everyone)
    counts = _Counts(upper(everyone), upper(named), final(everyone), final(named), cost)
    unordered = np.tri(size, k=-1, dtype=bool)
    return _Counts(*(np.where(unordered, np.nan, array / len(conf)) for array in counts))


def _histogram(first: Integers, second: Integers, size: int) -> Floats:
    """(size + 1, size + 1) how often each pair of indices from 0 to size occurs."""
    side = size + 1
    counts = np.bincount(first * side + second, minlength=side * side)
    return counts.reshape(side, side).astype(np.float64)


def _both_above(histogram: Floats) -> Floats:
    """(size, size) how many have first index > i and second index > j."""
    return np.asarray(np.cumsum(np.cumsum(histogram[::-1, ::-1], 0), 1)[::-1, ::-1][1:, 1:])


def _above_middle(last: Singles, below: Integers, above: Integers, grid: Singles) -> Floats:
    """(G, G) events undecided at the end whose last score is above the middle of the thresholds.

    Args:
        last: (n,) scores of the last exit.
        below: (n,) an event stays above grid[i] for i < below.
        above: (n,) it does not cross grid[j] for j >= above.
        grid: (G,) the thresholds.
    """
    size = len(grid)
    out = np.zeros((size, size))
    for i in range(size):
        # float32 as in the rule itself: the middle of two thresholds is compared as it rounds.
        middle = (grid[i] + grid) * np.float32(0.5)
        end = np.searchsorted(middle, last, side="left")  # last > middle[j] <=> j < end
        counted = (below > i) & (above < end)
        change = np.bincount(above[counted], minlength=size + 1)
        change -= np.bincount(end[counted], minlength=size + 1)
        out[i] = np.cumsum(change)[:size]
    return out


def single_threshold(table: ThresholdTable, prevalence: float) -> OperatingPoints:
    """The coupled family beta_u = tau, beta_l = 1 - tau with tau in [1/2, 1] on a uniform grid.

    Args:
        table: of a uniform grid with an odd number of points, so that 1/2 is one.
        prevalence: pi.

    Raises:
        ParamsError: the grid is not of that kind.
    """
    size = len(table.grid)
    mirrored = (1.0 - table.grid[::-1].astype(np.float64)).astype(np.float32)
    if size % 2 == 0 or abs(mirrored - table.grid).max() > 1e-6:
        raise ParamsError(f"grid of {size} points: allowed: uniform with an odd number of points")
    low, high = table.pairs
    return table.at(prevalence).take(low + high == size - 1)


def upper_threshold(table: ThresholdTable, prevalence: float) -> OperatingPoints:
    """The family beta_l = 0: no event leaves as head before the last exit."""
    return table.at(prevalence).take(table.pairs[0] == 0)


def terminal(
    pool: EventPool, prevalence: float, split: Split = "calib", server_mode: ServerMode = "any"
) -> OperatingPoints:
    """Terminal detection: the whole network runs, then tail iff C_N > theta, for every theta.

    The thetas are 0, 1 and all last-exit scores that occur. ``low`` is 0 and ``high`` is theta:
    the pairs do not act alike, the final rule theta with thresholds (0, 1) does.
    """
    part = pool.part(split)
    tail, head = part & pool.tail, part & ~pool.tail
    last = pool.conf[:, -1]
    theta = np.union1d(last[part], np.array([0.0, 1.0], np.float32))

    def share(mask: NDArray[np.bool_], events: NDArray[np.bool_]) -> Floats:
        ordered = np.sort(last[mask])
        above = len(ordered) - np.searchsorted(ordered, theta, side="right")
        return np.asarray(above / events.sum())

    tpr, fpr = share(tail, tail), share(head, head)
    f_acc = share(tail & pool.ok(server_mode), tail)
    p_off = prevalence * tpr + (1.0 - prevalence) * fpr
    mac = np.full(len(theta), pool.macs[-1])
    return _points(np.zeros_like(theta), theta, tpr, fpr, f_acc, p_off, mac, prevalence)
