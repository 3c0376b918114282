"""The board on a terminal: progress while policies play, then one table a task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from sixgym.agents.bars import bar
from sixgym.leaderboard.board import Board, BoardRow, make_boards, prefix_of
from sixgym.leaderboard.protocol import ScoreSpec
from sixgym.leaderboard.stats import Interval
from sixgym.leaderboard.store import Result

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from sixgym.leaderboard.verify import Check


class Display(AbstractContextManager["Display"]):
    """Progress bars on a terminal, plain lines in a pipe, nothing when quiet."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        from rich.console import Console

        # In a pipe rich would fold the table to 80 columns.
        width = None if stream.isatty() else 160
        self._console = Console(file=stream, quiet=quiet, width=width, highlight=False)
        self._progress: Progress | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress = bar(self._console)
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

    def say(self, text: str) -> None:
        """Print a line, above the bars if there are any."""
        self._console.print(text, markup=False)

    def boards(self, results: Sequence[Result]) -> None:
        """Print the tables of some rows."""
        self._stop()
        for board in make_boards(results):
            self._console.print(board_table(board))
            self._console.print(f"{footnote(board)} {ABBREVIATIONS}", style="dim")

    def checks(self, checks: Sequence[Check]) -> None:
        """Print what came of rows that were played again, and name those that are wrong."""
        self._stop()
        self._console.print(check_table(checks))
        failed = [check for check in checks if not check.passed]
        for check in failed:
            self._console.print(f"{check.path}: {check.status}: {check.message}", soft_wrap=True)
        counts = Counter(check.status for check in checks)
        told = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
        self._console.print(f"{len(checks)} rows: {told}")


def check_table(checks: Sequence[Check]) -> Table:
    """Rows that were played again, and how far they are from what is stored."""
    from rich import box
    from rich.table import Table

    table = Table(
        title="rows played again", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in ("row", "verdict"):
        table.add_column(name, overflow="fold")
    for name in ("episodes", "largest difference", "of a score", "episodes beyond"):
        table.add_column(name, justify="right")
    for check in checks:
        table.add_row(
            "/".join(check.path.parts[-3:]),
            check.status,
            str(check.episodes or "-"),
            number(check.largest, 2),
            number(check.score, 2),
            "-" if math.isnan(check.changed) else f"{check.changed:.1%}",
        )
    return table


def board_table(board: Board) -> Table:
    """One board as a rich table of at most 80 columns: headline, unitless costs, times.

    The other scores and the intervals of the normalised one are on the page and in the rows.
    """
    from rich import box
    from rich.table import Table

    headline = board.headline
    factor, unit = prefix_of(max(abs(row.score.value) for row in board.rows), headline.unit)
    table = Table(
        title=f"{board.task.env_id}: {headline.name}, {board.task.episodes} episodes",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
    )
    table.add_column("policy", no_wrap=True)
    if _differ_in_episodes(board):
        table.add_column("n", justify="right", no_wrap=True)
    table.add_column("sees", no_wrap=True)
    table.add_column(unit or headline.name, justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("norm.", justify="right", no_wrap=True)
    for score in costs(board):
        table.add_column(score.name.replace("_", " "), justify="right", min_width=7)
    table.add_column("decide µs", justify="right", min_width=6)
    table.add_column("step µs", justify="right", min_width=5)
    for place, row in enumerate(board.rows):
        if place and board.rows[place - 1].is_ranked and not row.is_ranked:
            table.add_section()
        table.add_row(*_cells(board, row, factor))
    return table


def _differ_in_episodes(board: Board) -> bool:
    """Whether some policies of a board, slow ones, have played fewer of its episodes."""
    return any(row.episodes != board.task.episodes for row in board.rows)


def costs(board: Board) -> list[ScoreSpec]:
    """The secondary scores of which less is better and that are shares or counts."""
    return [s for s in board.task.scores[1:] if not s.higher_is_better and s.unit in ("", "1")]


def _cells(board: Board, row: BoardRow, factor: float) -> list[str]:
    score = Interval(*(v / factor for v in row.score))
    seeds = f" x{len(row.training_seeds)}" if row.training_seeds else ""
    over = " over" if row.over_budget or row.over_training else ""
    untuned = "" if row.is_ranked else " untuned"
    sees = {"observation": "obs"}.get(row.policy.sees, row.policy.sees)
    return [
        row.policy.name + seeds + over + untuned,
        *([str(row.episodes)] if _differ_in_episodes(board) else []),
        sees,
        f"{score.value:.4g}",
        f"{score.low:.4g}–{score.high:.4g}",
        "-" if row.normalised is None else f"{row.normalised.value:.2f}",
        *(number(row.others[cost.name], 2) for cost in costs(board)),
        number(row.decision_s * 1e6, 3),
        number(row.step_s * 1e6, 3),
    ]


def number(value: float, digits: int = 4) -> str:
    """A number as a person reads it, without exponent where it can be; a dash if it has no value.

    Args:
        value: any.
        digits: significant ones.
    """
    if not math.isfinite(value):
        return "-"
    if value == 0.0 or 1e-4 <= abs(value) < 1e6:
        places = 0 if value == 0.0 else max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        return f"{value:.{places}f}"
    return f"{value:.{digits - 1}e}"


def footnote(board: Board) -> str:
    """How to read the numbers."""
    task = board.task
    last = task.first_seed + task.episodes - 1
    where = f"row seeds {task.first_seed} to {last}, {task.horizon or 'no limit of'} steps each"
    return (
        f"{board.headline.name} is a ratio of sums over all episodes; intervals: paired bootstrap "
        f"over common episodes ({where}). {_budgets(board)}"
        f"Normalised: 0 = {task.random}, 1 = {task.reference}. "
        "Times are per row of a batch: decide is the policy, step the environment (where a solver "
        "in the step sits)."
    )


def _budgets(board: Board) -> str:
    """What is said of the constraints of a task."""
    budgets = [
        f"{score.name} at {'least' if score.higher_is_better else 'most'} {score.budget:g}"
        for score in board.task.scores
        if score.budget is not None
    ]
    if board.task.training_budget is not None and board.best_learned is not None:
        budgets.append(f"training steps of a seed at most {board.task.training_budget:,}")
    told = f"Budget: {', '.join(budgets)}. " if budgets else ""
    if _differ_in_episodes(board):
        told += "n: slow policies play the first episodes, and are compared on those. "
    return told


ABBREVIATIONS = (
    "norm.: normalised; obs: sees the observation only; model: the present state of the model too; "
    "x3: three training seeds; over: breaks a budget, and ranks below all that keep it; untuned: "
    "one seed of hyper-parameters that nobody searched for, without a rank."
)
"""What the narrow table shortens."""
