"""Independent jobs in this process, in processes of their own, or on Ray.

A job is data: the name of a function and its arguments in JSON; so is what it returns. All engines
give the same answers, in the order in which they are ready. A worker that dies (killed, out of
memory, its machine gone) takes no other job with it: its job is tried again elsewhere.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from sixgym.envs.core import plugins
from sixgym.envs.core.errors import ConfigError, OptionsError, SixgymError
from sixgym.envs.core.registry import entries, register

Engine = Literal["local", "ray"]

OBJECT_STORE_BYTES = 128 * 2**20
"""Shared memory of a Ray that is started here: answers are a few hundred kilobytes."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What torch reads of its surroundings when it is loaded: it then starts no threads."""


REACH_S = 10.0
"""Seconds in which the machine at ``RAY_ADDRESS`` must answer."""


class Job(NamedTuple):
    """One call of a function."""

    key: str
    """Names the job; each once."""
    call: str
    """``package.module:function``, which a fresh interpreter can import."""
    args: dict[str, Any]
    """Keyword arguments, JSON-able."""


class Done(NamedTuple):
    """A job that has ended."""

    key: str
    value: Any
    """What the function returned, through JSON (tuples are lists); None beside an error."""
    error: str | None
    """Why there is no value, in one line; None where there is one."""


def run_jobs(
    jobs: Iterable[Job],
    *,
    engine: Engine = "local",
    workers: int | None = None,
    retries: int = 2,
) -> Iterator[Done]:
    """Run jobs and give each back as it ends, in order of completion.

    Jobs are drawn one at a time, when a worker is free and all that has ended was given back: what
    is asked next may depend on that. A function that raises ends its job with an error and is not
    tried again; a fault that is no `SixgymError` also leaves its traceback on stderr. Every worker
    has one thread of torch, and knows the environments that are registered here. Leaving the loop
    early, Ctrl-C included, ends the workers.

    Args:
        jobs: in the order in which they are begun.
        engine: ``local``; or ``ray``: the Ray that this process is connected to, else that of
            ``RAY_ADDRESS``, else one that is started for these jobs on this machine.
        workers: jobs at a time. ``local``: 1 runs them in this process; None is one a core.
            ``ray``: None is as many as the cluster has cores.
        retries: how often a job is tried again whose worker died.

    Raises:
        OptionsError: an unknown engine, a wrong number; while running, two jobs of one key or
            arguments that are not JSON.
        ConfigError: Ray is not installed, or there is none at ``RAY_ADDRESS``.
    """
    if engine not in get_args(Engine):
        raise OptionsError(f"engine={engine!r}: allowed: {', '.join(get_args(Engine))}")
    for name, value, least in (("workers", workers, 1), ("retries", retries, 0)):
        if value is not None and value < least:
            raise OptionsError(f"{name}={value}: allowed: at least {least}")
    texts = _texts(jobs)
    if engine == "ray":
        return _on_ray(_load_ray(), texts, workers, retries)
    count = workers or cores()
    return _here(texts) if count == 1 else _in_processes(texts, count, retries)


def cores() -> int:
    """Cores that this process may use, as far as the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _texts(jobs: Iterable[Job]) -> Iterator[str]:
    """Jobs as lines of JSON.

    Raises:
        OptionsError: a key comes again, or arguments cannot be written.
    """
    keys = set()
    for job in jobs:
        if job.key in keys:
            raise OptionsError(f"jobs: two are called {job.key!r}; allowed: different keys")
        keys.add(job.key)
        try:
            text = json.dumps(job)
        except (TypeError, ValueError) as error:
            raise OptionsError(f"job {job.key!r}: args: not JSON: {error}") from None
        yield text


def _attempt(text: str) -> Done:
    """Run a job and say how it ended, whatever happens."""
    job = Job(*json.loads(text))
    try:
        value = _resolve(job.call)(**job.args)
        return Done(job.key, json.loads(json.dumps(value)), None)
    except SixgymError as error:
        reason = str(error)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    return Done(job.key, None, " ".join(reason.split()))


def _resolve(call: str) -> Callable[..., Any]:
    module, _, name = call.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def _here(texts: Iterator[str]) -> Iterator[Done]:
    """In this process, one after another."""
    from sixgym.agents.runs import torch_threads

    for text in texts:
        with torch_threads(1):  # as every worker has: the same sums in the same order
            done = _attempt(text)
        yield done


def _surroundings() -> str:
    """What a worker must know beside its jobs, in JSON: where to import from, what is registered.

    Modules first: they may register environments that no entry describes.
    """
    own = [asdict(e) for e in entries() if not e.system.startswith("sixgym.")]
    return json.dumps(
        {"folder": str(Path.cwd()), "path": sys.path, "modules": plugins.imported(), "entries": own}
    )


def _settle(surroundings: str) -> None:
    """Make a worker's process what `_surroundings` says."""
    import sixgym  # noqa: F401 - registers the environments

    os.environ |= ONE_THREAD
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    told = json.loads(surroundings)
    with suppress(OSError):  # another machine may not have the folder
        os.chdir(told["folder"])
    sys.path += [place for place in told["path"] if place not in sys.path]
    for module in told["modules"]:
        plugins.import_module(module)
    for entry in told["entries"]:
        register(**entry)


# Processes of this machine


_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sixgym.agents.engine import serve; serve()"
)
"""What a worker's interpreter runs. Not multiprocessing: that runs the user's script once more."""

_END = "null"
"""The line that sends a worker home."""


class _Worker:
    """A process that runs one job after another: lines of JSON in, lines of JSON out."""

    def __init__(self, surroundings: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | ONE_THREAD,
        )
        self._send(surroundings)

    def ask(self, text: str) -> Done | None:
        """A job's end; None if the process died over it."""
        self._send(text)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return Done(*json.loads(line)) if line.endswith("\n") else None

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then there will be no answer either
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()

    def cause(self) -> str:
        """What a dead process died of."""
        code = self._process.wait()
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"exit code {code}"

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def leave(self) -> None:
        """Let it go home, and wait for that."""
        self._send(_END)
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]
        self._process.wait()


class _Crew:
    """Workers, each with a thread of this process that hands it jobs.

    Attributes:
        ended: the jobs that have ended, in that order.
    """

    def __init__(self, retries: int) -> None:
        self.ended: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._retries = retries
        self._surroundings = _surroundings()
        self._workers: set[_Worker] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def grow(self) -> None:
        """Add a thread; its worker is hired with its first job."""
        self._threads.append(threading.Thread(target=self._drive, daemon=True))
        self._threads[-1].start()

    def give(self, text: str) -> None:
        """A job for whoever is free."""
        self._waiting.put(text)

    def close(self, *, at_once: bool) -> None:
        """End all workers and their threads, ``at_once`` also those that are busy."""
        with self._lock:
            self._is_closed = True
            for worker in self._workers if at_once else ():
                worker.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _drive(self) -> None:
        worker: _Worker | None = None
        while (text := self._waiting.get()) is not None:
            try:
                worker, done = self._run(worker, text)
            except Exception as error:  # no process can be started: the loop must hear of it
                worker, done = None, Done(json.loads(text)[0], None, f"no worker: {error}")
            self.ended.put(done)
        if worker is not None:
            self._dismiss(worker)

    def _run(self, worker: _Worker | None, text: str) -> tuple[_Worker | None, Done]:
        """A job's end, by a worker or by those that replace it when it dies."""
        cause = ""
        for _ in range(self._retries + 1):
            worker = worker or self._hire()
            if worker is None:
                break
            done = worker.ask(text)
            if done is not None:
                return worker, done
            cause = worker.cause()
            self._dismiss(worker)
            worker = None
        tries = self._retries + 1
        reason = f"its process died in each of {tries} tries, the last time by {cause}"
        return None, Done(json.loads(text)[0], None, reason)

    def _hire(self) -> _Worker | None:
        """A new worker; None when the crew goes home."""
        with self._lock:
            if self._is_closed:
                return None
            worker = _Worker(self._surroundings)
            self._workers.add(worker)
            return worker

    def _dismiss(self, worker: _Worker) -> None:
        worker.leave()
        with self._lock:
            self._workers.discard(worker)


def _in_processes(texts: Iterator[str], count: int, retries: int) -> Iterator[Done]:
    crew = _Crew(retries)
    size = busy = 0
    try:
        while True:
            for text in itertools.islice(texts, count - busy):
                busy += 1
                if size < busy:
                    size += 1
                    crew.grow()
                crew.give(text)
            if not busy:
                break
            done = crew.ended.get()
            busy -= 1
            yield done
    finally:
        crew.close(at_once=busy > 0)


def serve() -> None:
    """The life of a worker's process: surroundings, then jobs, one a line, until told to leave.

    What a job prints goes to stderr. If the process that hands out jobs is gone, so is this one,
    at once: nobody would take its answer, and its files may be another's by now.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who hands out the jobs
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, lines), daemon=True).start()
    surroundings, problem = lines.get(), None
    try:
        _settle(surroundings)
    except Exception as error:
        traceback.print_exc()
        problem = f"{type(error).__name__}: {error}"
    while (text := lines.get()) != _END:
        done = Done(json.loads(text)[0], None, problem) if problem else _attempt(text)
        answers.write(json.dumps(done) + "\n")
        answers.flush()


def _listen(orders: Any, lines: queue.SimpleQueue[str]) -> None:
    for line in orders:
        lines.put(line.rstrip("\n"))
        if line.rstrip("\n") == _END:
            return
    os._exit(1)


# Ray


def _load_ray() -> Any:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    # Read when Ray is imported: it tells nobody that it is used.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ConfigError("engine='ray': ray is not installed: pip install 'sixgym[ray]'") from None


@contextmanager
def _cluster(ray: Any, workers: int | None) -> Iterator[None]:
    """A Ray that is connected; what was started here is shut down at the end."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    quiet = {"log_to_driver": False, "logging_level": "error", "ignore_reinit_error": True}
    own = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",  # else Ray asks the network what this machine is called
    }
    try:
        _knock(address)
        ray.init(address, **quiet, **(own if address == "local" else {}))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"RAY_ADDRESS={address!r}: no Ray there: {reason}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """See that something listens at ``host:port``; Ray itself would try for many minutes.

    Raises:
        OSError: nothing does.
    """
    host, separator, port = address.rpartition(":")
    if separator and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()


def _on_ray(ray: Any, texts: Iterator[str], workers: int | None, retries: int) -> Iterator[Done]:
    with _cluster(ray, workers):
        task = ray.remote(num_cpus=1, max_retries=retries)(_on_node)
        surroundings = _surroundings()
        room = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: dict[Any, str] = {}
        try:
            while True:
                for text in itertools.islice(texts, room - len(running)):
                    running[task.remote(surroundings, text)] = text
                if not running:
                    break
                (ready,), _ = ray.wait(list(running), num_returns=1)
                yield _answer(ray, ready, running.pop(ready))
        finally:
            for left in running:
                ray.cancel(left, force=True)


def _on_node(surroundings: str, text: str) -> str:
    """A job on a worker of Ray."""
    _settle(surroundings)
    return json.dumps(_attempt(text))


def _answer(ray: Any, ready: Any, text: str) -> Done:
    """The end of a job whose task has ended."""
    key = json.loads(text)[0]
    try:
        return Done(*json.loads(ray.get(ready)))
    except ray.exceptions.RayError as error:  # its worker or node died too often, or is strange
        reason = " ".join(str(error).split())
        return Done(key, None, f"{type(error).__name__}: {reason}")
