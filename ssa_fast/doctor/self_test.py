"""Every backend that is installed, in every precision it has here, held against one of them: labels and seconds."""

from __future__ import annotations

import importlib
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from ssa_fast.backends import BACKENDS, Backend, Choice, available_backends, open_backend
from ssa_fast.errors import BackendUnavailable, ConfigError, SsaFastError
from ssa_fast.export.parity import LIMITS, Answer, Proof, answers_of, compare
from ssa_fast.model.bundle import Bundle
from ssa_fast.volume.geometry import FloatArray, bounding_box
from ssa_fast.volume.phantom import make_phantom
from ssa_fast.volume.preprocess import z_score

__all__ = ["BRAIN", "SMALL", "Check", "brain_trial", "reference_backend", "self_test", "small_trial"]

SMALL, BRAIN = (64, 64, 64), (144, 176, 144)
"""Voxels, X Y Z: of a window of noise, and of what a padded brain box typically has."""

_REFERENCES = ("torch", "ort", "openvino")  # the first that is installed, in float32
_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Check:
    """One backend in one precision on one trial."""

    backend: str
    precision: str
    trial: str  # empty where it was not opened
    device: str = ""
    seconds: float | None = None  # of one call, the median of a few
    label_agreement: float | None = None  # share of voxels with the reference's label
    largest_logit_error: float | None = None
    needed: float  # least agreement
    problem: str = ""  # why it failed, or was not run
    is_skipped: bool = False  # this machine cannot run it: no failure

    @property
    def is_failed(self) -> bool:
        """Whether the backend gave another answer than the reference, none, or one that is not finite."""
        if self.is_skipped:
            return False
        agreement, error = self.label_agreement, self.largest_logit_error
        return bool(self.problem) or agreement is None or agreement < self.needed or not np.isfinite(error or 0.0)


def reference_backend() -> str:
    """The backend that the others are held to, in float32: torch, else ONNX Runtime, else OpenVINO.

    Raises BackendUnavailable if none is installed.
    """
    for name in _REFERENCES:
        if name in available_backends():
            return name
    raise BackendUnavailable("no engine is installed, so there is nothing to test: pip install 'ssa-fast[cpu]'")


def small_trial(channels: int) -> Proof:
    """A window of noise, of one seed: nothing of it is like a brain, so no answer can be right by luck."""
    windows = np.random.default_rng(0).standard_normal((1, channels, *SMALL), dtype=np.float32)
    return Proof(name=f"noise {_edges(SMALL)}", windows=windows, foreground=np.ones(SMALL, dtype=np.bool_))


def brain_trial() -> Proof:
    """A phantom's brain, normalized, in a box of a padded real brain's size. Takes a few seconds."""
    phantom = make_phantom(seed=0)
    volumes = list(phantom.modalities.values())
    box = bounding_box(np.logical_or.reduce([volume != 0 for volume in volumes]))
    room = tuple(slice(0, min(edge, most)) for edge, most in zip(box.shape, BRAIN, strict=True))
    windows: FloatArray = np.zeros((1, len(volumes), *BRAIN), dtype=np.float32)
    for channel, volume in zip(windows[0], volumes, strict=True):
        channel[room] = volume[box.slices][room]
        z_score(channel)
    return Proof(name=f"brain {_edges(BRAIN)}", windows=windows, foreground=(windows[0] != 0).any(axis=0))


def self_test(bundle: Bundle, trials: list[Proof]) -> Iterator[Check]:
    """Every backend and precision on every trial, as each is done.

    Raises BackendUnavailable if no backend is installed. What else fails is a `Check` that says so.
    """
    with closing(open_backend(reference_backend(), bundle, "float32")) as opened:
        reference, wanted = str(opened.device), answers_of(opened, trials)
    for name in available_backends():
        precisions: tuple[Choice, ...] = importlib.import_module(BACKENDS[name][0]).PRECISIONS
        for precision in precisions:
            yield from _checks(name, precision, bundle, reference, wanted)


def _checks(name: str, precision: Choice, bundle: Bundle, reference: str, answers: list[Answer]) -> Iterator[Check]:
    needed = LIMITS[precision].label_agreement
    try:
        backend = open_backend(name, bundle, precision)
    except ConfigError as error:  # this device does not have the precision
        yield Check(backend=name, precision=precision, trial="", needed=needed, problem=str(error), is_skipped=True)
        return
    except SsaFastError as error:
        yield Check(backend=name, precision=precision, trial="", needed=needed, problem=str(error))
        return
    with closing(backend):
        for answer in answers:
            yield _check(name, backend, reference, answer)


def _check(name: str, backend: Backend, reference: str, answer: Answer) -> Check:
    precision, proof = backend.device.precision, answer.proof
    limits = LIMITS[precision]
    needed = limits.label_agreement
    try:
        parity = compare(reference, [answer], backend, limits)  # and a warm-up
        seconds = _median_seconds(backend, proof.windows)
    except SsaFastError as error:
        return Check(backend=name, precision=precision, trial=proof.name, needed=needed, problem=str(error))
    return Check(
        backend=name,
        precision=precision,
        trial=proof.name,
        device=str(backend.device),
        seconds=seconds,
        label_agreement=parity.label_agreement,
        largest_logit_error=parity.largest_logit_error,
        needed=needed,
    )


def _median_seconds(backend: Backend, windows: FloatArray) -> float:
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        backend.logits(windows)  # in host memory when it returns: nothing is left to wait for
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _edges(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
