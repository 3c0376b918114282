"""A step compiled ahead of time: a shared library that is kept on disk and run by itself.

`Fused` compiles anew in every process and passes each call through torch's wrappers; at one row
both take longer than the physics. A `Kernel` is compiled once a machine and called through the raw
runner of AOTInductor.

What lies in the cache is code that will be run, so it is read only from a folder of the user's own
that nobody else can write, at a place that no argument decides. A kernel is found by the hash of
the traced graph with its constants, of torch and of the processor: other parameters, other code or
another trace file are another kernel, and nothing stored is ever wrong.
"""

from __future__ import annotations

import hashlib
import os
import platform
import stat
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx

from sixgym.envs.core.fuse import builder, flattener, trace
from sixgym.envs.core.packing import packed

SUFFIX = ".so"
Options = Mapping[str, bool | str]
OPTIONS: dict[str, bool | str] = {
    "force_pointwise_cat": True,
    "memory_planning": True,
    "memory_pool": "outputs",
}
"""Of the compiler: at one row, making a tensor or an alias of one takes as long as filling it."""


class KernelWarning(UserWarning):
    """No kernel could be made or kept; what is done instead is said."""


class KernelError(RuntimeError):
    """A kernel cannot be made here: there is no C++ compiler, or it fails."""


class Held(NamedTuple):
    """The buffers of a step: what the next call is given, and the result of the last."""

    moving: list[Tensor]
    still: list[Tensor]


class Kernel:
    """A step as a library of machine code, for tensors of fixed shapes on the CPU.

    Args:
        function: a pure function ``(carried, *others)`` to ``(carried, result)``: a tuple of
            tensors that the next call is given again, and nested tuples and dictionaries of tensors
            for the rest.
        carried: tensors of the shapes and dtypes of all later calls.
        *others: the same for the other arguments.
        options: of the compiler.

    Raises:
        KernelError: it is not in the cache, and there is no compiler that could make it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        carried: tuple[Tensor, ...],
        *others: Any,
        options: Options = OPTIONS,
    ) -> None:
        traced = trace(function, carried, *others)
        self._step = packed(traced, len(carried))
        self._flat = flattener(others)
        self._num_moving = len(self._step.moves)
        self._read = self._step.moving.reader(self._num_moving)
        self._build = builder(traced.result[1])
        self.run = _load(self._step.graph, self._step.inputs, options)
        """The library's own call, from `inputs` to the buffers of what moves and of the result."""

    def hold(self, carried: Sequence[Tensor]) -> Held:
        """Carried tensors as the library takes them; they are copied."""
        step = self._step
        moving = step.moving.pack([carried[i] for i in step.moves])
        return Held(moving, step.still.pack([carried[i] for i in step.stays]))

    def __call__(self, held: Held, *others: Any) -> Held:
        """One step. What was held before stays as it is."""
        return Held(self.run(self.inputs(held, *others)), held.still)

    def inputs(self, held: Held, *others: Any) -> list[Tensor]:
        """What the library takes."""
        step = self._step
        # The code knows one layout and checks nothing.
        leaves = [leaf.contiguous() for leaf in self._flat(others)]
        taken = [*held.moving[: step.num_inputs], *held.still, *leaves]
        return [taken[i] for i in step.needed]

    def carried(self, held: Held) -> list[Tensor]:
        """The carried tensors, as views."""
        step = self._step
        found: dict[int, Tensor] = dict(
            zip(step.stays, step.still.tensors(held.still), strict=True)
        )
        moved = step.moving.tensors(held.moving, last=self._num_moving)
        found |= zip(step.moves, moved, strict=True)
        return [found[i] for i in range(len(found))]

    def arrays(self, held: Held) -> Any:
        """The result in its own structure, as arrays that are views."""
        return self._build(self._read(held.moving))

    def tensors(self, held: Held) -> Any:
        """The result in its own structure, as views."""
        return self._build(self._step.moving.tensors(held.moving, self._num_moving))


def _load(
    graph: fx.GraphModule, inputs: list[Tensor], options: Options
) -> Callable[[list[Tensor]], list[Tensor]]:
    """The runner of a graph, from the cache or compiled into it."""
    name = kernel_name(graph, inputs, options)
    folder = kernel_folder()
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="sixgym-kernel-") as own:
            return _runner(_compile(graph, inputs, options, Path(own) / f"{name}{SUFFIX}"))
    stored = folder / f"{name}{SUFFIX}"
    if not _is_own(stored, stat.S_ISREG):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            # Complete before it has its name, so that other processes never see half of it.
            _compile(graph, inputs, options, Path(own) / stored.name).replace(stored)
    return _runner(stored)


def _runner(path: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    library = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    return cast("Callable[[list[Tensor]], list[Tensor]]", library.run)


def _compile(graph: fx.GraphModule, inputs: list[Tensor], options: Options, path: Path) -> Path:
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, of its own code
            given = {**options, "aot_inductor.output_path": str(path)}
            torch._inductor.aot_compile(graph, tuple(inputs), options=given)
    except exc.InvalidCxxCompiler:
        raise KernelError("no C++ compiler is at hand") from None
    except (exc.CppCompileError, exc.InductorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise KernelError(f"compiling failed: {reason}") from error
    path.chmod(0o700)
    return path


def kernel_name(graph: fx.GraphModule, inputs: Sequence[Tensor], options: Options = OPTIONS) -> str:
    """The hash of all that a kernel depends on, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    machine = (platform.machine(), _processor(), torch.backends.cpu.get_cpu_capability())
    version = (torch.__version__, torch.version.git_version)
    digest.update(repr((version, machine, sorted(options.items()))).encode())
    digest.update(graph.code.encode())
    constants = {str(node.target) for node in graph.graph.find_nodes(op="get_attr")}
    named = [(name, getattr(graph, name)) for name in sorted(constants)]
    for name, tensor in [*named, *((f"input {i}", t) for i, t in enumerate(inputs))]:
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
    for _, tensor in named:
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _processor() -> str:
    """What the processor can do: a kernel uses all of it, and a home folder may be shared."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    return flags[0] if flags else platform.processor()


def kernel_folder() -> Path | None:
    """The cache of kernels, made where it is missing: ``sixgym/kernels`` in the user's cache.

    None, with a warning, where there is no folder of the user's own that only the user can read or
    write.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        home = base if base.is_absolute() else Path.home() / ".cache"
        folder = home / "sixgym" / "kernels"
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        reason = "" if _is_own(folder, stat.S_ISDIR) else f"{folder} is not yours alone (mode 0700)"
        if not reason and not os.access(folder, os.W_OK | os.X_OK):
            reason = f"{folder} cannot be written"
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
    if reason:
        warnings.warn(f"compiled steps are not kept: {reason}", KernelWarning, stacklevel=2)
        return None
    return folder


def _is_own(path: Path, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is there, no link, this user's, and closed to everybody else."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    if not is_kind(found.st_mode):
        return False
    if os.name != "posix":  # no modes; the profile of a user is closed to others
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & 0o077
