"""How often `infer` finds what was planted in a sound case, how often it alarms about a sound one, and what that costs.

Over the fifteen real cases, where they are at hand, on which the limits were set, and over phantoms, on which they were
not, but for the largest brain; phantoms are more alike than patients. A row is found / planted, by the check that
should find it. Planted in the brain after cropping: an image that is moved or turned keeps the mask that it shares
with the others, the harder kind.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from ssa_fast.labels import MODALITIES
from ssa_fast.measure import machine_line
from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.geometry import FloatArray
from ssa_fast.volume.phantom import write_phantoms
from ssa_fast.volume.preprocess import Brain, crop_to_brain
from ssa_fast.volume.sanity import suspicions

REAL_CASES = Path(__file__).resolve().parents[2] / "shared" / "ssa"
PHANTOMS, SEED = 15, 4321
FEWEST_FOUND = 0.95  # of what `_MUST_BE_FOUND` names
MOST_CPU_SECONDS = 0.1
EACH = range(len(MODALITIES))

Plant = Iterator[tuple[str, str, Case, Brain]]  # what was planted, the check that should see it, the case with it


def bench_what_is_planted_is_found(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    folders = {"phantoms": tmp_path}
    write_phantoms(tmp_path, cases=1 if benchmark.disabled else PHANTOMS, seed=SEED)
    if REAL_CASES.is_dir() and not benchmark.disabled:  # the same code, once
        folders["real"] = REAL_CASES
    for kind, folder in folders.items():
        files = find_cases([folder])[: 1 if benchmark.disabled else None]
        planted, found, seconds = Counter[str](), Counter[str](), []
        for one in files:
            case = read_case(one)
            brain = crop_to_brain(case)
            start = time.process_time()
            alarms = suspicions(case, brain)
            seconds.append(time.process_time() - start)
            planted["nothing (false alarms)"] += 1
            found["nothing (false alarms)"] += bool(alarms)
            for what, check, spoiled_case, spoiled in _plants(case, brain):
                planted[what] += 1
                found[what] += any(alarm.check == check for alarm in suspicions(spoiled_case, spoiled))
        rows = {what: f"{found[what]} of {planted[what]}" for what in planted}
        benchmark.extra_info[kind] = rows
        benchmark.extra_info[f"{kind}_cpu_seconds"] = round(statistics.median(seconds), 3)
        print(json.dumps({kind: rows, "cases": len(files), "cpu_seconds": statistics.median(seconds)}, indent=2))
        if not benchmark.disabled:
            assert found["nothing (false alarms)"] == 0
            assert all(found[what] >= FEWEST_FOUND * planted[what] for what in planted if what in _MUST_BE_FOUND)
            assert statistics.median(seconds) < MOST_CPU_SECONDS
    benchmark.extra_info["machine"] = machine_line("checks before inference")
    benchmark.pedantic(lambda: suspicions(case, brain), rounds=1 if benchmark.disabled else 10)


_MUST_BE_FOUND = ("wrong order", "doubled image", "one image mirrored", "moved by 6 mm", "moved by 10 mm")


def _plants(case: Case, brain: Brain) -> Plant:
    for order in list(itertools.permutations(EACH))[1:]:
        yield "wrong order", "order", case, dataclasses.replace(brain, array=brain.array[list(order)])
    for one, other in itertools.permutations(EACH, 2):
        yield "doubled image", "twins", case, _with(brain, one, lambda _, twin=other: brain.array[twin])
    rng = np.random.default_rng(0)
    for place in EACH:
        yield "one image mirrored", "alignment", case, _with(brain, place, lambda image: image[::-1])
        for distance in (2, 4, 6, 10, 20):
            axis, sign = int(rng.integers(3)), int(rng.choice([-1, 1]))
            moved = _with(brain, place, lambda image, by=sign * distance, axis=axis: np.roll(image, by, axis))
            yield f"moved by {distance} mm", "alignment", case, moved
        for degrees in (5, 10, 20):
            axes = ((0, 1), (0, 2), (1, 2))[int(rng.integers(3))]
            turned = _with(brain, place, lambda image, by=degrees, axes=axes: _turned(image, by, axes))
            yield f"turned by {degrees} degrees", "alignment", case, turned
    mirrored = _altered(case, lambda image, _: image[::-1])
    yield "all four mirrored (cannot be known)", "alignment", mirrored, crop_to_brain(mirrored)
    for what, alter in _SKULLS.items():
        spoiled = _altered(case, alter)
        yield what, "skull", spoiled, crop_to_brain(spoiled)


def _with(brain: Brain, place: int, alter: Callable[[FloatArray], FloatArray]) -> Brain:
    array = brain.array.copy()
    array[place] = alter(array[place]) * (brain.array[place] != 0)
    return dataclasses.replace(brain, array=array)


def _altered(case: Case, alter: Callable[[FloatArray, int], FloatArray]) -> Case:
    volumes = [
        dataclasses.replace(volume, array=alter(np.asarray(volume.array, dtype=np.float32), place))
        for place, volume in enumerate(case.volumes)
    ]
    return dataclasses.replace(case, volumes=tuple(volumes))


def _turned(image: FloatArray, degrees: float, axes: tuple[int, int]) -> FloatArray:
    """The image turned about its middle, each voxel from the nearest."""
    plane = np.moveaxis(image, axes, (0, 1))
    angle, middle = np.deg2rad(degrees), [(edge - 1) / 2 for edge in plane.shape[:2]]
    along = [np.arange(edge) - half for edge, half in zip(plane.shape[:2], middle, strict=True)]
    first, second = np.meshgrid(*along, indexing="ij")
    from_first = np.rint(np.cos(angle) * first - np.sin(angle) * second + middle[0]).astype(int)
    from_second = np.rint(np.sin(angle) * first + np.cos(angle) * second + middle[1]).astype(int)
    held = (from_first >= 0) & (from_first < plane.shape[0]) & (from_second >= 0) & (from_second < plane.shape[1])
    turned = plane[from_first * held, from_second * held] * held[..., None]
    return np.moveaxis(turned, (0, 1), axes)


def _larger(mask: FloatArray, factor: float) -> FloatArray:
    """A mask blown up about its middle, each voxel from the nearest."""
    places = []
    for axis, edge in enumerate(mask.shape):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        middle = along.mean()
        places.append(np.rint((np.arange(edge) - middle) / factor + middle).astype(int).clip(0, edge - 1))
    return mask[np.ix_(*places)]


def _skull(gap: float, ring: float, dark: float) -> Callable[[FloatArray, int], FloatArray]:
    """Around the brain a gap of `dark` and a bright ring, both as parts of the brain's size."""

    def alter(image: FloatArray, _: int) -> FloatArray:
        brain = image != 0
        bone, head = _larger(brain, 1 + gap), _larger(brain, 1 + gap + ring)
        level = float(np.median(image[brain]))
        return np.where(brain, image, np.where(bone, dark * level, 1.3 * level * head)).astype(np.float32)

    return alter


_SKULLS: dict[str, Callable[[FloatArray, int], FloatArray]] = {
    "background of 10": lambda image, _: image + 10,
    "background of t1c alone": lambda image, place: image + 10 * (place == 1),
    "head: dark bone of 6 mm, scalp of 6": _skull(0.08, 0.08, 0.1),
    "head: empty bone of 6 mm, scalp of 6": _skull(0.08, 0.08, 0.0),
    "scalp of 3 mm, 4 from the brain": _skull(0.05, 0.04, 0.0),
}
