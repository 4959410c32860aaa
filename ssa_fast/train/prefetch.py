"""What coming steps need, made in threads while the network works."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

__all__ = ["prefetched"]

T = TypeVar("T")
_AHEAD = 2  # steps a thread may be ahead: enough to hide one slow draw


def prefetched(make: Callable[[int], T], first: int, end: int, threads: int) -> Generator[T, None, None]:
    """`make(step)` for each step from `first` to before `end`, in order, made by `threads` of one core each.

    With 0 threads each is made when it is asked for. What `make` raises is raised at its step. Close the iterator to
    leave early: it waits for what is being made, and no more is begun.
    """
    if threads == 0:
        yield from map(make, range(first, end))
        return
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        steps = iter(range(first, end))
        waiting = deque(pool.submit(make, step) for step in islice(steps, _AHEAD * threads))
        while waiting:
            made = waiting.popleft().result()
            waiting.extend(pool.submit(make, step) for step in islice(steps, 1))
            yield made
    finally:
        pool.shutdown(cancel_futures=True)
