"""One way to compute an update of the weights, timed, and held against float32's loss and gradient."""

from __future__ import annotations

import dataclasses
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ssa_fast.train.compiled import compiled_or_reason
from ssa_fast.train.config import ExecutionConfig, TrainConfig
from ssa_fast.train.group import Group
from ssa_fast.train.loop import update
from ssa_fast.train.placement import choose_placement
from ssa_fast.train.run import Sources, open_run

__all__ = ["BASELINE", "TIME_IS_UP", "Bench", "Trial", "seconds_of_an_update"]

BASELINE = ExecutionConfig(precision="float32", layout="contiguous", is_compiled=False)
"""What the loss and the gradient of every other way are held against."""

TIME_IS_UP = "not measured: the time is up"
_ROUNDS = 5
_SCALES = 8  # updates that fp16 may pass over until its loss is scaled right
_LOSS_TOLERANCE = 0.02  # of about 2; bf16 was 0.0001 off
_LEAST_COSINE = 0.99  # of the gradient and float32's; bf16 had 0.9999


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to compute an update, and how it did."""

    execution: ExecutionConfig
    seconds: float = math.nan  # an update, median
    loss: float = math.nan  # of the first update: all ways begin with the same weights and batch
    problem: str = ""  # why it is out of the question


class _Subject:
    """A run of its own, in one way to compute it; it is never saved."""

    def __init__(self, config: TrainConfig, group: Group, execution: ExecutionConfig) -> None:
        asked = dataclasses.replace(
            config,
            precision=execution.precision,
            layout=execution.layout,
            compile="on" if execution.is_compiled else "off",
            loss=dataclasses.replace(config.loss, distillation=0.0),  # a teacher takes the same time whatever the way
        )
        self.execution = execution
        self.placement = choose_placement(asked, group)
        with tempfile.TemporaryDirectory() as folder:
            self.run = open_run(asked, Path(folder), Sources(), self.placement)
        self.problem = ""
        self.network: nn.Module = self.run.supervised
        if execution.is_compiled:
            self.network, reason = compiled_or_reason(self.run.supervised, asked, self.placement)
            self.problem = f"cannot be compiled: {reason}" if reason else ""
        self.batch = _blob(asked)

    def update(self) -> float:
        """The loss; the device has done its work then."""
        return float(update(self.run, self.network, [self.batch], self.placement))

    def timed(self) -> float:
        """Seconds of one update."""
        start = time.perf_counter()
        self.update()
        return time.perf_counter() - start

    def gradient(self) -> list[Tensor]:
        """Of the last update, clipped, a tensor a parameter."""
        return [parameter.grad.clone() for parameter in self.run.network.parameters() if parameter.grad is not None]


def seconds_of_an_update(config: TrainConfig, group: Group) -> float:
    """By BASELINE, after one to warm up."""
    subject = _Subject(config, group, BASELINE)
    subject.update()
    return subject.timed()


class Bench:
    """Measures ways to compute one and the same update; none is begun after the `deadline` of `time.perf_counter`."""

    def __init__(self, config: TrainConfig, group: Group, deadline: float) -> None:
        self.config, self.group, self.deadline = config, group, deadline
        self.loss = math.nan  # the baseline's
        self.wanted: list[Tensor] = []  # its gradient

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.perf_counter() > self.deadline

    def measure(self, ways: Sequence[ExecutionConfig], *, sure: int = 0) -> list[Trial]:
        """A trial a way. On a CPU, whose pace drifts, they take turns; on a GPU, short of memory, each is alone.

        The first `sure` of them are measured even if the time is up.
        """
        turns = [ways] if self.group.device.type == "cpu" else [[way] for way in ways]
        certain = ways[:sure]
        return [trial for together in turns for trial in self._take_turns(together, certain)]

    def _take_turns(self, ways: Sequence[ExecutionConfig], certain: Sequence[ExecutionConfig]) -> list[Trial]:
        tried = [
            self._try(way) if way in certain or not self.is_over else (None, Trial(execution=way, problem=TIME_IS_UP))
            for way in ways
        ]
        subjects = [subject for subject, _ in tried if subject is not None]
        seconds: dict[ExecutionConfig, list[float]] = {subject.execution: [] for subject in subjects}
        for done in range(_ROUNDS):
            if done and self.is_over:
                break
            for subject in subjects:
                seconds[subject.execution].append(subject.timed())
        return [
            dataclasses.replace(trial, seconds=statistics.median(seconds[trial.execution]))
            if trial.execution in seconds
            else trial
            for _, trial in tried
        ]

    def _try(self, way: ExecutionConfig) -> tuple[_Subject | None, Trial]:
        """One subject that has made its first updates, if it is sound."""
        try:
            subject = _Subject(self.config, self.group, way)
            loss = math.nan if subject.problem else subject.update()
            problem = subject.problem or self._problem(subject, loss)
        except RuntimeError as error:  # of a kernel that the device has not, or for want of memory
            if way == BASELINE:
                raise
            lines = str(error).strip().splitlines() or [""]
            return None, Trial(execution=way, problem=f"{type(error).__name__}: {lines[0]}")
        trial = Trial(execution=way, loss=loss, problem=problem)
        return (None if problem else subject), trial

    def _problem(self, subject: _Subject, loss: float) -> str:
        """Why the first update is not float32's; of the baseline, all is kept that others are held against."""
        gradient = subject.gradient()
        for _ in range(_SCALES if subject.run.scaler.is_enabled() else 0):
            if _are_finite(gradient):
                break
            subject.update()  # the weights are as they were: the last one was passed over
            gradient = subject.gradient()
        if not math.isfinite(loss):
            return f"its loss is {loss}"
        if not _are_finite(gradient):
            return "its gradient is not finite"
        if subject.execution == BASELINE:
            self.loss, self.wanted = loss, gradient
        if not self.wanted:
            return "float32, which it would be held against, is not finite"
        if abs(loss - self.loss) > _LOSS_TOLERANCE:
            return f"its loss is {loss:.4f}, that of float32 {self.loss:.4f}"
        cosine = _cosine(gradient, self.wanted)
        return "" if cosine >= _LEAST_COSINE else f"its gradient points elsewhere: cosine {cosine:.2f} with float32's"


def _are_finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _cosine(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Of the angle between two gradients."""

    def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
        return sum(float((a.double() * b).sum()) for a, b in zip(left, right, strict=True))

    lengths = math.sqrt(dot(one, one) * dot(other, other))
    return dot(one, other) / lengths if lengths else 0.0


def _blob(config: TrainConfig) -> tuple[Tensor, Tensor]:
    """A batch of noise with a bright box of nested labels in the middle: a tumor, as far as timing goes."""
    generator = torch.Generator().manual_seed(config.seed)
    patches = torch.randn(config.batch, config.network.modalities, *config.patch, generator=generator)
    labels = torch.zeros(config.batch, *config.patch, dtype=torch.int64)
    for label in range(1, config.network.classes):
        x, y, z = (slice(edge * label // 8, edge - edge * label // 8) for edge in config.patch)
        labels[:, x, y, z] = label
        patches[:, :, x, y, z] += 0.5
    return patches, labels
