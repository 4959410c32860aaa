"""The `torch` backend: PyTorch on a CPU, eagerly, or on a CUDA GPU, by the way that is the fastest there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssa_fast import hardware
from ssa_fast.backends.base import (
    Choice,
    Device,
    Footprint,
    Precision,
    buffer_bytes,
    check_logit_mean,
    check_windows,
    cpu_precision,
    engine_failure,
    host_footprint,
    memory_failure,
)
from ssa_fast.backends.measured import Way
from ssa_fast.backends.probe import TorchFacts
from ssa_fast.backends.torch_copies import Copies
from ssa_fast.backends.torch_graphs import Graphs
from ssa_fast.backends.torch_ways import Running, kinds_for, quiet, ways_of
from ssa_fast.errors import ArithmeticUnavailable, BackendError, BundleError, ConfigError
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["PRECISIONS", "PytorchBackend", "gpu_name", "open_bundle", "torch_facts", "ways"]

PRECISIONS = ("float32", "bf16", "float16")
# measured with both networks on a CPU, 64^3 to 160 x 192 x 160, windows included: 1.08 to 1.17, and 0.5 to 0.65; on a
# GPU only reckoned
_CPU_SHARE = {"float32": 1.15, "bf16": 0.63}
_GPU_SHARE = {"float32": 1.5, "bf16": 1.0, "float16": 1.0}
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float16": torch.float16}


class PytorchBackend:
    """A network in PyTorch. Its weights are shared, not copied, until another layout or device asks for a copy."""

    def __init__(
        self,
        network: nn.Module,
        spec: ModelSpec,
        device: torch.device,
        how: Precision | Running,
        copies: Copies | None = None,
    ) -> None:
        """A precision alone is run eagerly, in the layout that is the faster on CPUs and the safer on GPUs.

        `copies` of a GPU may be shared with others, whose answers are then overwritten, too.
        """
        is_cpu = device.type == "cpu"
        # channels-last is 1.5 times as fast on CPUs; on GPUs without tensor cores it is not
        running = how if isinstance(how, Running) else Running(precision=how, is_channels_last=is_cpu)
        self.spec = spec
        self.device = Device(
            engine=", ".join([f"torch {torch.__version__}", *([] if is_cpu else running.particulars)]),
            name=hardware.cpu().name if is_cpu else torch.cuda.get_device_name(device),
            precision=running.precision,
            threads=torch.get_num_threads() if is_cpu else 0,
        )
        self._torch_device, self._is_compiled = device, bool(running.compile_mode)
        self._layout = torch.channels_last_3d if running.is_channels_last else torch.contiguous_format
        if is_cpu:
            self._network = network.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]
            self._footprint = host_footprint(_CPU_SHARE[running.precision])
            self._copies, self._graphs = None, None
            return
        # float32 means float32: TF32 keeps 10 bits of a factor
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        before = torch.cuda.memory_allocated(device)
        try:
            self._network = network.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]
        except torch.OutOfMemoryError as error:
            raise BackendError(
                f"{self.device.name} has no memory for the weights of '{spec.name}': close other programs on the GPU "
                f"({str(error).splitlines()[0]})"
            ) from error
        held_bytes = torch.cuda.memory_allocated(device) - before
        self._footprint = Footprint(held_bytes=held_bytes, share=_GPU_SHARE[running.precision], is_host=False)
        self._copies = copies or Copies(device)
        self._graphs = Graphs(self._network, device) if running.has_graph else None

    @property
    def footprint(self) -> Footprint:
        """See `Backend.footprint`."""
        if self._graphs is None:
            return self._footprint
        kept = self._graphs.kept_bytes
        return replace(self._footprint, keeps_buffers=True, kept_bytes=kept, is_kept_apart=True)

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        host: FloatArray
        [host] = self._ran(windows, lambda logits: [logits.float().contiguous()])
        return host

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        labels: LabelArray
        labels, logit_means = self._ran(windows, _labels_and_mean)
        check_logit_mean(float(logit_means.sum()))
        return labels

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`. What graphs keep is reserved, and not allocated, from one replay to the next."""
        if self._copies is None:
            return hardware.usable_memory_bytes()
        unused = torch.cuda.memory_reserved(self._torch_device) - torch.cuda.memory_allocated(self._torch_device)
        return torch.cuda.mem_get_info(self._torch_device)[0] + unused

    def let_go(self) -> None:
        """See `Backend.let_go`: of graphs, and of the host's memory that copies go through."""
        if self._graphs is not None:
            self._graphs.let_go()
        if self._copies is not None:
            self._copies.let_go()

    def close(self) -> None:
        """See `Backend.close`."""
        self.let_go()
        self._network, self._graphs = nn.Identity(), None
        if self._copies is not None:
            torch.cuda.empty_cache()

    def _ran(self, windows: FloatArray, made_of: Callable[[Tensor], Sequence[Tensor]]) -> Any:
        """What `made_of` makes of the logits (N, K, X, Y, Z) on the device, as arrays of the host."""
        check_windows(windows, self.spec)

        def run(batch: Tensor) -> Sequence[Tensor]:
            network = self._network if self._graphs is None else self._graphs.run
            return made_of(network(batch.contiguous(memory_format=self._layout)))

        try:
            with torch.inference_mode(), self._autocast(), quiet() if self._is_compiled else nullcontext():
                if self._copies is None:
                    return [made.numpy() for made in run(torch.from_numpy(windows))]
                return self._copies.through(windows, run)
        except torch.OutOfMemoryError as error:
            raise self._too_large(windows, error) from error
        except RuntimeError as error:
            if isinstance(error.__context__, torch.OutOfMemoryError):  # the end of a capture that it broke off
                raise self._too_large(windows, error.__context__) from error
            raise engine_failure(self.device, windows, error) from error

    def _autocast(self) -> torch.autocast:
        precision = self.device.precision
        # without its cache of weights, which would not outlive this run, and a graph would
        return torch.autocast(
            self._torch_device.type, _DTYPES[precision], enabled=precision != "float32", cache_enabled=False
        )

    def _too_large(self, windows: FloatArray, error: Exception) -> BackendError:
        """What the GPU's want of memory becomes."""
        if self._copies is not None:
            torch.cuda.empty_cache()  # so that the next case finds what this one had
        x, y, z = windows.shape[2:]
        planned_bytes = buffer_bytes(self.spec, self.footprint.share, 1, (x, y, z))  # a GPU has one window at a time
        return memory_failure(self.device, windows, planned_bytes, self.free_bytes() or 0, error)


def _labels_and_mean(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The labels (N, X, Y, Z), the lowest in a tie, and a mean that is NaN where a logit is."""
    return logits.argmax(dim=1).to(torch.uint8).contiguous(), logits.mean(dtype=torch.float32).reshape(1)


def open_bundle(bundle: Bundle, precision: Choice) -> PytorchBackend:
    """The backend for a bundle: on the first CUDA GPU where there is one, else on the CPU.

    Raises ArithmeticUnavailable for a bundle in int8, BundleError if its weights do not fit the network that it
    describes, ConfigError if the device lacks the precision.
    """
    network, device = _network(bundle), _device()
    chosen = cpu_precision(precision) if device.type == "cpu" else _gpu_precision(precision, device)
    return PytorchBackend(network, bundle.spec, device, chosen)


def ways(bundle: Bundle) -> list[Way]:
    """The ways to run a bundle that are worth a trial here, the plain one first; none on a CPU, where they are known.

    There torch.compile took twice as long as eager bf16 (measured). Raises what `open_bundle` does for a bundle that it
    cannot run.
    """
    device = _device()
    if device.type == "cpu":
        return []
    kinds = kinds_for(torch.cuda.get_device_capability(device), torch.cuda.get_device_name(device))
    copies = Copies(device)
    return ways_of(
        _network(bundle), kinds, lambda network, how: PytorchBackend(network, bundle.spec, device, how, copies)
    )


def _device() -> torch.device:
    """The first CUDA GPU, set up for shapes that come again, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True  # every kernel is tried once for each new shape; brains' are bucketed
    return torch.device("cuda", 0)


def _network(bundle: Bundle) -> nn.Module:
    if bundle.arithmetic == "int8":
        raise ArithmeticUnavailable(
            f"{bundle.path}: is quantized to int8, which torch does not run: take --backend openvino or ort, or the "
            "float32 bundle it was made from"
        )
    state = {name: torch.from_numpy(array.astype(np.float32)) for name, array in bundle.weights().items()}
    network = UNet(bundle.spec.network)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise BundleError(f"{bundle.path}: weights do not fit the network it describes: {detail}") from error
    return network.eval()


def gpu_name() -> str:
    """The GPU that `open_bundle` takes, in words, or nothing where it takes the CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def torch_facts() -> TorchFacts:
    """What torch was built for, and whether it finds a GPU; its own words where it does not."""
    try:
        cudnn = torch.backends.cudnn.version()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            gpu = gpu_name()
            capability = torch.cuda.get_device_capability() if gpu else (0, 0)
    except RuntimeError as error:  # libraries that do not fit each other or the driver
        return TorchFacts(version=torch.__version__, cuda=torch.version.cuda or "", error=str(error).splitlines()[0])
    return TorchFacts(
        version=torch.__version__,
        cuda=torch.version.cuda or "",
        cudnn=f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}" if cudnn else "",  # 91501 is 9.15.1
        gpu=gpu,
        capability=capability,
        warning=str(said[0].message).splitlines()[0] if said else "",
    )


def _gpu_precision(choice: Choice, device: torch.device) -> Precision:
    """The precision that `choice` stands for on a GPU. torch claims bf16 below capability 8.0, and emulates it."""
    has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0)
    if choice == "auto":
        return "bf16" if has_bf16 else "float32"
    if choice == "bf16" and not has_bf16:
        raise ConfigError(f"{torch.cuda.get_device_name(device)} has no bf16: take --precision float32")
    return choice
