"""Steps made ahead of time come in order, and nothing hangs."""

from __future__ import annotations

import threading

import pytest

from ssa_fast.train.prefetch import prefetched


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize(("first", "end"), [(0, 0), (0, 1), (4, 17)])
def test_every_step_is_made_once_and_in_order(threads: int, first: int, end: int) -> None:
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        return step * step

    assert list(prefetched(make, first, end, threads)) == [step * step for step in range(first, end)]
    assert sorted(made) == list(range(first, end))


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_comes_at_its_step(threads: int) -> None:
    steps = prefetched(lambda step: 1 // (3 - step), 0, 9, threads)
    assert [next(steps) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(steps)


def test_leaving_early_ends_the_threads_and_begins_no_more() -> None:
    before, made = threading.active_count(), []
    steps = prefetched(made.append, 0, 1000, 2)
    next(steps)
    steps.close()
    assert threading.active_count() == before
    assert len(made) < 20


def test_a_step_is_made_while_the_last_one_is_used() -> None:
    begun = threading.Event()

    def make(step: int) -> int:
        if step == 1:
            begun.set()
        return step

    steps = prefetched(make, 0, 3, threads=1)
    assert next(steps) == 0
    assert begun.wait(timeout=10)  # without asking for it
    steps.close()
