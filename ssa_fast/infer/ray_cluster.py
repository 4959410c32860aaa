"""A Ray cluster: this machine alone or one that is there already, and where workers have room in it."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

from ssa_fast import hardware
from ssa_fast.errors import ConfigError
from ssa_fast.infer.worker import Place

__all__ = ["LOCAL", "WORKER_BYTES", "WORKER_THREADS", "connected", "places_of"]

LOCAL = "local"
"""The address of no cluster: one of this machine alone is started."""

WORKER_BYTES = 2_000_000_000
"""Of memory a worker, where nothing else is asked for: a whole brain in one pass of `lite` takes up to 1.4 GB."""

WORKER_THREADS = 4
"""Of the network a worker, where nothing else is asked for."""

_KNOCK_SECONDS = 10
_STORE_BYTES = 80 * 2**20  # of shared memory, the least that Ray takes: labels are written, not sent


@contextmanager
def connected(address: str = LOCAL, cpus: int | None = None) -> Iterator[list[Mapping[str, Any]]]:
    """The machines of a cluster, as Ray describes them, while this process belongs to it.

    `address` is `local`, `auto` for the cluster that this machine is part of, or its HOST:PORT. A local cluster has
    `cpus` processors, or else as many as this process may use, and its memory; it ends with the block, and leaves
    nothing behind but Ray's token in `~/.ray`. Until then SIGTERM leaves by way of SystemExit, where nobody handles it
    yet.

    Raises ConfigError if there is no cluster, or none that this Ray can join.
    """
    is_main = threading.current_thread() is threading.main_thread()  # the one that can set handlers
    before = signal.getsignal(signal.SIGTERM)
    with ExitStack() as stack:
        local: dict[str, Any] = {}
        if address == LOCAL:
            local = {
                "num_cpus": cpus or hardware.cpu().threads,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_memory": hardware.usable_memory_bytes(),
                "_temp_dir": stack.enter_context(_short_folder()),
            }
        try:
            _join(address, local)
            if is_main:  # Ray has set one of its own, which leaves with the code 15
                signal.signal(signal.SIGTERM, _leave if before == signal.SIG_DFL else before)
            yield [node for node in ray.nodes() if node["Alive"]]
        finally:
            ray.shutdown(wait_for_processes=True)
            if is_main:
                signal.signal(signal.SIGTERM, before)


def places_of(nodes: Sequence[Mapping[str, Any]], threads: int, memory_bytes: int) -> list[Place]:
    """Where workers of so many threads and so much memory have room: of each machine first one, then a second, ...

    A machine with fewer processors or less memory has one worker all the same, and that takes what there is.

    Raises ConfigError if no machine has a processor to give.
    """
    rooms = [room for node in nodes if (room := _room(node, threads, memory_bytes)) is not None]
    if not rooms:
        raise ConfigError(f"none of the cluster's {len(nodes)} machines has a processor to give: see 'ray status'")
    machine_workers: Counter[str] = Counter()
    for room in rooms:
        machine_workers[room.machine] += room.workers
    taken: Counter[str] = Counter()  # cores, by machine: a cluster may have more than one node there
    places = []
    for number in range(max(room.workers for room in rooms)):
        for room in rooms:
            if number < room.workers:
                machine = room.machine
                places.append(replace(room, workers=machine_workers[machine], first_core=taken[machine]))
                taken[machine] += room.threads
    return places


def _room(node: Mapping[str, Any], threads: int, memory_bytes: int) -> Place | None:
    """The first of the workers that a node has room for, which are counted in it; None if it has nothing to give."""
    resources = node["Resources"]
    cpus, memory = int(resources.get("CPU", 0)), int(resources.get("memory", 0))
    if cpus < 1 or memory < 1:
        return None
    own_threads = min(threads, cpus)
    workers = max(1, min(cpus // own_threads, memory // memory_bytes))
    machine = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
    return Place(
        machine=machine, node=node["NodeID"], workers=workers, threads=own_threads, memory_bytes=memory // workers
    )


def _short_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for Ray's logs and sockets: the path of a socket has about 100 characters at most."""
    short = "/tmp" if Path("/tmp").is_dir() else None
    return tempfile.TemporaryDirectory(prefix="ssa-fast-ray-", dir=short, ignore_cleanup_errors=True)


def _join(address: str, local: Mapping[str, Any]) -> None:
    try:
        if ":" in address:
            _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError, exceptions.RayError) as error:
        reason = _line(error, 0) if error.__cause__ is None else f"{_line(error, 0)}: {_line(error.__cause__, -1)}"
        raise ConfigError(f"--ray {address}: this machine cannot join or start it: {reason}") from error


def _line(error: BaseException, number: int) -> str:
    """One of the lines that Ray says: the first sums up, the last is the reason."""
    return (str(error).strip().splitlines() or [type(error).__name__])[number].strip()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray asks again for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)
