"""The `torch` backend: eager PyTorch on a CPU or a CUDA GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
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
    check_logit_mean,
    check_windows,
    cpu_precision,
    engine_failure,
    host_footprint,
)
from ssa_fast.backends.probe import TorchFacts
from ssa_fast.errors import ArithmeticUnavailable, BundleError, ConfigError
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.spec import ModelSpec
from ssa_fast.model.unet import UNet
from ssa_fast.volume.geometry import FloatArray, LabelArray

__all__ = ["PRECISIONS", "PytorchBackend", "gpu_name", "open_bundle", "torch_facts"]

PRECISIONS = ("float32", "bf16", "float16")
# measured with both networks on a CPU, 96^3 to 144 x 176 x 144; on a GPU only reckoned
_CPU_SHARE = {"float32": 1.35, "bf16": 0.78}  # of the first: with 1.25, 0.77 GB where 0.75 were granted
_CPU_LABELS_SHARE = {"float32": 1.1, "bf16": 0.7}  # in one pass: 1.07 to 1.18, and 0.44 to 0.70
_GPU_SHARE = {"float32": 1.5, "bf16": 1.0, "float16": 1.0}
_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float16": torch.float16}


class PytorchBackend:
    """A network in PyTorch. Its weights are shared, not copied, until another layout or device asks for a copy."""

    def __init__(self, network: nn.Module, spec: ModelSpec, device: torch.device, precision: Precision) -> None:
        is_cpu = device.type == "cpu"
        name = hardware.cpu().name if is_cpu else torch.cuda.get_device_name(device)
        self.spec = spec
        self.device = Device(
            engine=f"torch {torch.__version__}",
            name=name,
            precision=precision,
            threads=torch.get_num_threads() if is_cpu else 0,
        )
        self._torch_device = device
        if not is_cpu:
            # float32 means float32: TF32 keeps 10 bits of a factor
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False
        # channels-last is 1.5 times as fast on CPUs; on GPUs without tensor cores it is not
        self._layout = torch.channels_last_3d if is_cpu else torch.contiguous_format
        self._network = network.to(device=device, memory_format=self._layout)  # type: ignore[call-overload]
        self.footprint = (
            host_footprint(_CPU_SHARE[precision], _CPU_LABELS_SHARE[precision])
            if is_cpu
            else Footprint(held_bytes=torch.cuda.memory_allocated(device), share=_GPU_SHARE[precision], is_host=False)
        )

    def logits(self, windows: FloatArray) -> FloatArray:
        """See `Backend.logits`."""
        host: FloatArray
        [host] = self._ran(windows, lambda logits: [logits.float().contiguous()])
        return host

    def labels(self, windows: FloatArray) -> LabelArray:
        """See `Backend.labels`."""
        labels: LabelArray
        labels, logit_mean = self._ran(windows, _labels_and_mean)
        check_logit_mean(float(logit_mean))
        return labels

    def free_bytes(self) -> int | None:
        """See `Backend.free_bytes`."""
        if self._torch_device.type == "cpu":
            return hardware.usable_memory_bytes()
        unused = torch.cuda.memory_reserved(self._torch_device) - torch.cuda.memory_allocated(self._torch_device)
        return torch.cuda.mem_get_info(self._torch_device)[0] + unused

    def let_go(self) -> None:
        """See `Backend.let_go`: nothing is kept."""

    def close(self) -> None:
        """See `Backend.close`."""
        self._network = nn.Identity()
        if self._torch_device.type == "cuda":
            torch.cuda.empty_cache()

    def _ran(self, windows: FloatArray, made_of: Callable[[Tensor], Sequence[Tensor]]) -> Any:
        """What `made_of` makes of the logits (N, K, X, Y, Z) on the device, as arrays of the host."""
        check_windows(windows, self.spec)
        is_reduced = self.device.precision != "float32"
        autocast = torch.autocast(self._torch_device.type, _DTYPES[self.device.precision], is_reduced)
        try:
            with torch.inference_mode(), autocast:
                batch = torch.from_numpy(windows).to(device=self._torch_device, memory_format=self._layout)
                return [made.cpu().numpy() for made in made_of(self._network(batch))]
        except RuntimeError as error:
            raise engine_failure(self.device, windows, error) from error


def _labels_and_mean(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The labels (N, X, Y, Z), the lowest in a tie, and a mean that is NaN where a logit is."""
    return logits.argmax(dim=1).to(torch.uint8).contiguous(), logits.mean(dtype=torch.float32)


def open_bundle(bundle: Bundle, precision: Choice) -> PytorchBackend:
    """The backend for a bundle: on the first CUDA GPU where there is one, else on the CPU.

    Raises ArithmeticUnavailable for a bundle in int8, BundleError if its weights do not fit the network that it
    describes, ConfigError if the device lacks the precision.
    """
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
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = cpu_precision(precision) if device.type == "cpu" else _gpu_precision(precision, device)
    return PytorchBackend(network.eval(), bundle.spec, device, chosen)


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
