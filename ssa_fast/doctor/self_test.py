"""Backends and engines held against the float32 network: equal labels, seconds, and share of this machine's peak."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ssa_fast.backends import BACKENDS, Backend, Choice, Device, available_backends, open_backend, open_engine
from ssa_fast.backends.manifest import Manifest
from ssa_fast.backends.probe import without_folders
from ssa_fast.errors import ArithmeticUnavailable, BackendUnavailable, ConfigError, SsaFastError
from ssa_fast.export.parity import Answer, Proof, answers_of, compare, limits_for
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.parity import Limits
from ssa_fast.model.roofline import Ceiling, network_roofline
from ssa_fast.volume.geometry import FloatArray, bounding_box
from ssa_fast.volume.phantom import make_phantom
from ssa_fast.volume.preprocess import z_score

__all__ = [
    "BRAIN",
    "SMALL",
    "Check",
    "Run",
    "SelfTest",
    "brain_trial",
    "bundle_runs",
    "engine_run",
    "reference_backend",
    "self_test",
    "small_trial",
]

SMALL, BRAIN = (64, 64, 64), (144, 176, 144)
"""Voxels, X Y Z: of a window of noise, and of what a padded brain box typically has."""

_REFERENCES = ("torch", "ort", "openvino")  # the first that is installed, in float32
_REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class Run:
    """One way to run the network, to be tested."""

    backend: str
    precision: str  # that is asked for
    open: Callable[[], Backend]
    limits: Callable[[Device], Limits]  # what is allowed to it on the device that it runs on
    is_default: bool = False  # whether `infer` takes it by itself


@dataclass(frozen=True, kw_only=True)
class Check:
    """One run on one trial. What was not reached is None."""

    backend: str
    precision: str  # of an int8 network: int8, and that of its other layers, as in int8/bf16
    trial: str = ""  # empty where it was not opened
    device: str = ""
    seconds: float | None = None  # of one call, the median of a few
    speed: float | None = None  # times that of the reference
    gflop_per_second: float | None = None
    share_of_peak: float | None = None  # of what this machine was seen to do in that precision; None: not measured
    label_agreement: float | None = None  # share of voxels with the reference's label
    needed: float | None = None  # least agreement
    largest_logit_error: float | None = None
    problem: str = ""  # why it failed, or was not run
    is_skipped: bool = False  # this machine or backend cannot run it: no failure
    is_default: bool = False  # what `infer` takes by itself

    @property
    def is_failed(self) -> bool:
        """Whether it gave another answer than the reference, none, or one that is not finite."""
        return bool(self.problem) and not self.is_skipped


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """A self-test that is done."""

    subject: str  # a bundle or an engine
    reference: str  # the backend that it was held against, in float32
    ceiling: Ceiling
    checks: Sequence[Check]


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """What the others are held to, and this machine's ceiling."""

    name: str
    answers: Sequence[Answer]
    seconds: Sequence[float]  # a trial each
    ceiling: Ceiling


def reference_backend() -> str:
    """The backend that the others are held to, in float32: torch, else ONNX Runtime, else OpenVINO.

    Raises BackendUnavailable if none is installed.
    """
    for name in _REFERENCES:
        if name in available_backends():
            return name
    raise BackendUnavailable("no engine is installed, so there is nothing to test: pip install 'ssa-fast[cpu]'")


def bundle_runs(bundle: Bundle, default: tuple[str, str] = ("", "")) -> list[Run]:
    """Every installed backend in every precision that it has. `default`: backend and precision that `infer` takes."""
    return [
        Run(
            backend=name,
            precision=precision,
            open=partial(open_backend, name, bundle, precision),
            limits=partial(limits_for, bundle.arithmetic),
            is_default=(name, precision) == default,
        )
        for name in available_backends()
        for precision in _precisions(name)
    ]


def engine_run(folder: Path, manifest: Manifest) -> Run:
    """An engine, held to the limits of its own parity record, or of its precision where it has none."""
    recorded = manifest.parity
    return Run(
        backend=manifest.backend,
        precision=manifest.precision,
        open=partial(open_engine, folder, is_unproven_allowed=True),
        limits=partial(limits_for, manifest.precision) if recorded is None else lambda _: recorded.limits,
    )


def small_trial(channels: int, shape: tuple[int, int, int] = SMALL) -> Proof:
    """A window of noise, of one seed: nothing of it is like a brain, so no answer can be right by luck."""
    windows = np.random.default_rng(0).standard_normal((1, channels, *shape), dtype=np.float32)
    return Proof(name=f"noise {_edges(shape)}", windows=windows, foreground=np.ones(shape, dtype=np.bool_))


def brain_trial(shape: tuple[int, int, int] = BRAIN) -> Proof:
    """A phantom's brain, normalized, in a box of a padded real brain's size. Takes a few seconds."""
    phantom = make_phantom(seed=0)
    volumes = list(phantom.modalities.values())
    box = bounding_box(np.logical_or.reduce([volume != 0 for volume in volumes]))
    room = tuple(slice(0, min(edge, most)) for edge, most in zip(box.shape, shape, strict=True))
    windows: FloatArray = np.zeros((1, len(volumes), *shape), dtype=np.float32)
    for channel, volume in zip(windows[0], volumes, strict=True):
        channel[room] = volume[box.slices][room]
        z_score(channel)
    return Proof(name=f"brain {_edges(shape)}", windows=windows, foreground=(windows[0] != 0).any(axis=0))


def self_test(runs: Sequence[Run], reference: Bundle, trials: Sequence[Proof], ceiling: Ceiling) -> Iterator[Check]:
    """Every run on every trial, as each is done, held against the float32 bundle `reference`.

    Raises BackendUnavailable if no backend is installed. What else fails is a `Check` that says so.
    """
    with closing(open_backend(reference_backend(), reference, "float32")) as opened:
        held_to = _Reference(
            name=str(opened.device),
            answers=answers_of(opened, trials),  # and a warm-up
            seconds=[_median_seconds(opened, trial.windows) for trial in trials],
            ceiling=ceiling,
        )
    for run in runs:
        yield from _checks(run, held_to)


def _precisions(name: str) -> tuple[Choice, ...]:
    """That a backend has; float32 for a library that cannot be imported: opening it says why."""
    try:
        precisions: tuple[Choice, ...] = importlib.import_module(BACKENDS[name][0]).PRECISIONS
    except (ImportError, OSError, AttributeError):  # absent, without its libraries, half overwritten
        return ("float32",)
    return precisions


def _checks(run: Run, reference: _Reference) -> Iterator[Check]:
    try:
        backend = run.open()
    except SsaFastError as error:
        is_skipped = isinstance(error, (ConfigError, ArithmeticUnavailable))  # device or backend do not have it
        yield Check(
            backend=run.backend,
            precision=run.precision,
            problem=without_folders(str(error)),
            is_skipped=is_skipped,
            is_default=run.is_default,
        )
        return
    with closing(backend):
        for answer, seconds in zip(reference.answers, reference.seconds, strict=True):
            yield _check(run, backend, reference, answer, seconds)


def _check(run: Run, backend: Backend, reference: _Reference, answer: Answer, reference_seconds: float) -> Check:
    device, proof = backend.device, answer.proof
    limits = run.limits(device)
    about = Check(
        backend=run.backend,
        precision=device.precision + (f"/{device.others}" if device.others else ""),
        trial=proof.name,
        device=str(device),
        needed=limits.label_agreement,
        is_default=run.is_default,
    )
    try:
        parity = compare(reference.name, [answer], backend, limits)  # and a warm-up
        seconds = _median_seconds(backend, proof.windows)
    except SsaFastError as error:  # the first: float16 that this GPU has not passed, which nothing takes by itself
        is_skipped = isinstance(error, ArithmeticUnavailable)
        return replace(about, problem=without_folders(str(error)), is_skipped=is_skipped)
    shape = proof.windows.shape[2:]
    roofline = network_roofline(backend.spec.network, (shape[0], shape[1], shape[2]), reference.ceiling)
    is_peak_known = device.name == roofline.ceiling.device and device.precision in roofline.ceiling.peaks
    return replace(
        about,
        seconds=seconds,
        speed=reference_seconds / seconds,
        gflop_per_second=roofline.flop / seconds / 1e9,
        share_of_peak=roofline.share_of_peak(1e3 * seconds, device.precision) if is_peak_known else None,
        label_agreement=parity.label_agreement,
        largest_logit_error=parity.largest_logit_error,
        problem="; ".join(parity.shortcomings),
    )


def _median_seconds(backend: Backend, windows: FloatArray) -> float:
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        backend.logits(windows)  # in host memory when it returns: nothing is left to wait for
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _edges(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
