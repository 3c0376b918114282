"""The board on a terminal: progress while policies play, then one table a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from sixgym.leaderboard.board import Board, BoardRow, make_boards, prefix_of
from sixgym.leaderboard.protocol import ScoreSpec
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import Result

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table


class Display(AbstractContextManager["Display"]):
    """Progress bars on a terminal, plain lines in a pipe, nothing when quiet."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        from rich.console import Console

        # In a pipe rich would fold the table to 80 columns.
        width = None if stream.isatty() else 160
        self._console = Console(file=stream, quiet=quiet, width=width, highlight=False)
        self._progress: Progress | None = None

    def __enter__(self) -> Display:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    @contextmanager
    def task(self, id: str, policy: str) -> Iterator[Callable[[int, int], None] | None]:
        """The progress of one policy's episodes."""
        if self._progress is None:
            self._console.print(f"{id}: {policy} ...")
            yield None
            return
        bar = self._progress
        handle = bar.add_task(f"{id} [bold]{policy}[/bold]", total=None)

        def tell(ended: int, total: int) -> None:
            bar.update(handle, completed=ended, total=total)

        try:
            yield tell
        finally:
            bar.remove_task(handle)

    def boards(self, results: Sequence[Result]) -> None:
        """Print the tables of some rows."""
        self._stop()
        for board in make_boards(results):
            self._console.print(board_table(board))
            self._console.print(footnote(board), style="dim")


def board_table(board: Board) -> Table:
    """One board as a rich table: the headline, the costs (lower is better), the times.

    The other scores and the intervals of the normalised one are on the page and in the rows.
    """
    from rich import box
    from rich.table import Table

    headline = board.headline
    factor, unit = prefix_of(max(abs(row.score.value) for row in board.rows), headline.unit)
    title = f"{board.task.env_id}: {headline.name}, {board.task.episodes} episodes"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("policy", no_wrap=True)
    table.add_column("sees")
    table.add_column(unit or headline.unit, justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("normalised", justify="right")
    for score in costs(board):
        shown = f" ({score.unit})" if score.unit not in ("", "1") else ""
        table.add_column(score.name.replace("_", " ") + shown, justify="right")
    table.add_column("decide (µs)", justify="right")
    table.add_column("step (µs)", justify="right")
    for row in board.rows:
        table.add_row(*_cells(board, row, factor))
    return table


def costs(board: Board) -> list[ScoreSpec]:
    """The secondary scores of which less is better."""
    return [score for score in board.task.scores[1:] if not score.higher_is_better]


def _cells(board: Board, row: BoardRow, factor: float) -> list[str]:
    score = Interval(*(v / factor for v in row.score))
    seeds = f" ({len(row.training_seeds)} seeds)" if row.training_seeds else ""
    return [
        row.policy.name + seeds,
        row.policy.sees,
        f"{score.value:.4g}",
        f"{score.low:.4g} to {score.high:.4g}",
        "-" if row.normalised is None else number(round(row.normalised.value, 3)),
        *(number(row.others[cost.name]) for cost in costs(board)),
        f"{row.decision_s * 1e6:.3g}",
        f"{row.step_s * 1e6:.3g}",
    ]


def number(value: float) -> str:
    """A number as a person reads it; a dash where it has no value."""
    return "-" if not math.isfinite(value) else f"{value:.4g}"


def footnote(board: Board) -> str:
    """How to read the table."""
    task = board.task
    last = task.first_seed + task.episodes - 1
    where = f"row seeds {task.first_seed} to {last}, {task.horizon or 'no limit of'} steps each"
    return (
        f"{board.headline.name} is a ratio of sums over all episodes; intervals: paired bootstrap "
        f"over common episodes ({where}). normalised: 0 = {task.random}, 1 = {task.reference}. "
        "Times are per row of a batch: decide is the policy, step the environment (where a solver "
        "in the step sits)."
    )
