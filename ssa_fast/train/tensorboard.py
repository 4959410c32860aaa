"""A run as TensorBoard shows it: curves, and a held-out slice at the end of each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssa_fast.errors import BackendUnavailable
from ssa_fast.train.progress import Progress
from ssa_fast.train.records import Epoch

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["BOARD", "TensorBoard"]

BOARD = "tensorboard"
"""Folder of a run that `tensorboard --logdir` is given; the folder above shows several runs."""


class TensorBoard:
    """Writes a run's reports into a folder.

    A run that is gone on with from before its last reports (it was killed) tells them again: the earlier ones are
    hidden from the first new one on. An epoch that was killed while it was scored is in training_stats.json alone.
    """

    def __init__(self, folder: Path) -> None:
        """Writes nothing yet. Raises BackendUnavailable if tensorboard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise BackendUnavailable(
                f"--tensorboard needs tensorboard: pip install 'ssa-fast[watch]' ({error})"
            ) from error
        self._folder, self._kind = folder, SummaryWriter
        self._writer: SummaryWriter | None = None

    def show(self, progress: Progress) -> None:
        """Add a report, and the epoch that has ended."""
        if self._writer is None:
            self._writer = self._kind(str(self._folder), purge_step=progress.step)
        for name, value in _curves(progress).items():
            self._writer.add_scalar(name, value, progress.step)
        if progress.epoch is None:
            return
        for name, value in _epoch_curves(progress.epoch).items():
            self._writer.add_scalar(name, value, progress.step)
        if progress.overlay is not None:
            self._writer.add_image("held_out/overlay", progress.overlay, progress.step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()


def _curves(progress: Progress) -> dict[str, float]:
    pace = progress.pace
    curves = {
        "training/loss": progress.loss,
        "training/learning_rate": progress.learning_rate,
        "machine/patches_per_second": pace.patches_per_second,
        "machine/peak_memory_GB": progress.peak_memory_bytes / 1e9,
        "machine/share_of_peak": pace.share_of_peak,
        "machine/gpu_utilization": pace.gpu_utilization,
        "machine/gpu_memory_GB": None if pace.gpu_memory_bytes is None else pace.gpu_memory_bytes / 1e9,
    }
    return {name: value for name, value in curves.items() if value is not None}


def _epoch_curves(epoch: Epoch) -> dict[str, float]:
    curves = {"training/epoch_loss": epoch.loss}
    scores = epoch.held_out
    if scores is None:
        return curves
    if scores.loss is not None:
        curves["held_out/loss"] = scores.loss
    for measure, table in (("dice", scores.dice), ("precision", scores.precision), ("recall", scores.recall)):
        curves |= {f"{measure}/{target}": value for target, value in table.items()}
    return curves
