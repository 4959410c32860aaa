"""From an ONNX graph to an engine, by TensorRT or TensorRT-RTX: the same code builds with both."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssa_fast.backends.base import Gives
from ssa_fast.backends.tensorrt_errors import explained
from ssa_fast.backends.tensorrt_library import Logged
from ssa_fast.errors import BudgetError, EngineError
from ssa_fast.export.profile import Boxes, Profile
from ssa_fast.files import write_whole
from ssa_fast.model.argmax import LABELS, LOGIT_MEAN, LOGITS, with_labels
from ssa_fast.model.spec import ModelSpec

__all__ = ["Built", "Recipe", "build_engine", "check_budget", "gives_of", "one_shape", "target_of"]

_log = logging.getLogger(__name__)

_LEVEL = 5  # of the builder's search: its most thorough; the time is spent once a card
_PLANNED = re.compile(r"Total Activation Memory: (\d+) bytes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to build a network."""

    name: str  # such as "float16, strongly typed"
    precision: str
    onnx: bytes
    is_strongly_typed: bool = True  # types are the graph's; else the builder may take float16 where it is faster


@dataclass(frozen=True, kw_only=True)
class Built:
    """What came of a recipe."""

    recipe: Recipe
    boxes: Boxes
    content: bytes  # the engine
    seconds: float
    planned_bytes: int | None  # of device memory for activations, as the builder says; None: it does not


def one_shape(window: tuple[int, int, int]) -> Boxes:
    """Boxes of engines that take one shape alone."""
    return Boxes(smallest=window, usual=window, largest=window)


def gives_of(boxes: Boxes) -> tuple[Gives, ...]:
    """What an engine for `boxes` gives.

    Engines for brain boxes give both: labels for one pass, logits for the windows of a brain beyond the largest box and
    for parity. What crosses to the host is what is asked for, and there labels are a sixteenth. One window's logits are
    blended with its neighbors', so an engine for one shape has no argmax, which would cost it time and is never read.
    """
    return ("logits",) if boxes.smallest == boxes.largest else ("logits", "labels")


def build_engine(ours: Logged, recipe: Recipe, spec: ModelSpec, profile: Profile, boxes: Boxes, cache: Path) -> Built:
    """The engine of a recipe for windows of `boxes`, batch 1, within the profile's memory; it gives `gives_of(boxes)`.

    TensorRT builds for the GPU of this machine, TensorRT-RTX for the profile's compute capability, without a GPU.
    `cache` is the file of the builder's timings, which make the next build faster; RTX measures nothing.

    Raises EngineError if the graph is not what its spec says or cannot be built, BudgetError if the engine plans more
    memory than the profile grants, BackendUnavailable without a driver that serves TensorRT.
    """
    library, where = ours.library, f"{spec.name}, {recipe.name}"
    if "labels" in gives_of(boxes):
        recipe = dataclasses.replace(recipe, onnx=with_labels(recipe.onnx))
    ours.log.clear()
    started = time.perf_counter()
    with _refusals_of(ours, where):
        builder = library.Builder(ours.logger)
        network = _parsed(ours, builder, recipe, where)
        _check_network(ours, network, spec, where)
        config = _config(ours, builder, recipe, profile)
        _add_boxes(builder, config, spec, boxes, where)
        if not ours.is_rtx:
            _take_timings(config, cache)
            ours.log.clear()  # timings that are refused are logged as an error, and are none
        serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise explained(where, ours.log.errors)
    content = bytes(serialized)
    if not ours.is_rtx:
        write_whole(cache, bytes(config.get_timing_cache().serialize()))
    built = Built(
        recipe=recipe,
        boxes=boxes,
        content=content,
        seconds=time.perf_counter() - started,
        planned_bytes=_planned_bytes(ours.log.notes),
    )
    check_budget(built.planned_bytes, profile, where)
    return built


def check_budget(planned_bytes: int | None, profile: Profile, where: str) -> None:
    """Raises BudgetError if an engine plans more memory for activations than the profile grants."""
    if planned_bytes is not None and planned_bytes > profile.activation_gb * 1e9:
        raise BudgetError(
            f"{where}: plans {planned_bytes / 1e9:.2f} GB for activations, the profile grants "
            f"{profile.activation_gb:.2f} GB (activation_gb): build float16, or for smaller boxes"
        )


@contextmanager
def _refusals_of(ours: Logged, where: str) -> Iterator[None]:
    """Where pybind11 says that the library's factory gave nothing, the library's log says why."""
    try:
        yield
    except TypeError as error:
        if "nullptr" not in str(error):
            raise
        raise explained(where, [*ours.log.errors, str(error)]) from error


def _parsed(ours: Logged, builder: Any, recipe: Recipe, where: str) -> Any:
    """The network of the recipe's graph. Raises EngineError with what the parser found first."""
    library = ours.library
    flags = 0
    if recipe.is_strongly_typed:
        flags = 1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = library.OnnxParser(network, ours.logger)
    if not parser.parse(recipe.onnx):
        found = [_words(parser.get_error(place)) for place in range(parser.num_errors)]
        raise explained(where, found or ours.log.errors)
    return network


def _words(error: Any) -> str:
    """A parser's error with the operator that it is about."""
    operator = error.node_operator()
    about = f"node {error.node_name() or error.node()}, operator: {operator}: " if operator else ""
    return f"{about}{error.desc()} ({error.code()})"


def _check_network(ours: Logged, network: Any, spec: ModelSpec, where: str) -> None:
    """Raises EngineError unless the graph takes float32 windows and gives float32 logits, as its spec says.

    Labels and mean may stand behind the logits, as `with_labels` puts them there.
    """
    outputs = [network.get_output(place).name for place in range(network.num_outputs)]
    added = 2 if outputs[1:] == [LABELS, LOGIT_MEAN] else 0
    for kind, count, tensor, name, channels in (
        ("input", network.num_inputs, network.get_input(0), "windows", len(spec.modalities)),
        ("output", network.num_outputs - added, network.get_output(0), LOGITS, len(spec.labels)),
    ):
        seen = f"{tensor.name} {tensor.dtype} {tuple(tensor.shape)}"
        is_right = tensor.name == name and tensor.dtype == ours.library.float32
        if count != 1 or not is_right or len(tensor.shape) != 5 or tensor.shape[1] != channels:
            raise EngineError(
                f"{where}: the graph has {count} {kind}s, the first is {seen}, wanted one, {name} in float32 with "
                f"{channels} channels and X Y Z: export the bundle again"
            )


def _config(ours: Logged, builder: Any, recipe: Recipe, profile: Profile) -> Any:
    library, config = ours.library, builder.create_builder_config()
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, int(profile.workspace_gb * 1e9))
    config.builder_optimization_level = _LEVEL
    if ours.is_rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(target_of(library, profile), 0)
    else:  # RTX knows no such level; an engine that runs on other cards too is slower on this one
        config.hardware_compatibility_level = library.HardwareCompatibilityLevel.NONE
    if not recipe.is_strongly_typed:
        config.set_flag(library.BuilderFlag.FP16)
    return config


def target_of(library: Any, profile: Profile) -> Any:
    """The profile's compute capability as TensorRT-RTX names it. Raises EngineError if it has no such target."""
    name = f"SM{profile.capability.replace('.', '')}"
    known = sorted(one for one in library.ComputeCapability.__members__ if one.startswith("SM"))
    if name not in known:
        raise EngineError(
            f"TensorRT-RTX builds for {', '.join(known)}, not for compute capability '{profile.capability}': "
            "take --backend trt on the machine itself"
        )
    return getattr(library.ComputeCapability, name)


def _add_boxes(builder: Any, config: Any, spec: ModelSpec, boxes: Boxes, where: str) -> None:
    shapes = [(1, len(spec.modalities), *box) for box in (boxes.smallest, boxes.usual, boxes.largest)]
    optimization = builder.create_optimization_profile()
    optimization.set_shape("windows", *shapes)
    if config.add_optimization_profile(optimization) != 0:
        raise EngineError(f"{where}: TensorRT takes no windows of {shapes[0]} to {shapes[2]}: mend the profile's boxes")


def _take_timings(config: Any, cache: Path) -> None:
    """Give the builder its timings of earlier builds; TensorRT refuses those of another GPU or version."""
    earlier = cache.read_bytes() if cache.is_file() else b""
    timings = config.create_timing_cache(earlier)
    if not config.set_timing_cache(timings, False):
        _log.info("%s: timings of another GPU or version, measured again", cache)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _planned_bytes(notes: list[str]) -> int | None:
    """What the builder says that activations will take: it does without a GPU, where no engine can be asked."""
    found = [int(match[1]) for match in map(_PLANNED.search, notes) if match]
    return found[-1] if found else None
