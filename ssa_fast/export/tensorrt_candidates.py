"""Every way to build an engine that a profile names, tried on this machine: the fastest that is proven is kept."""

from __future__ import annotations

import dataclasses
import importlib
import shlex
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ssa_fast import hardware
from ssa_fast.backends import Backend
from ssa_fast.backends.manifest import Candidate, Manifest
from ssa_fast.backends.tensorrt_library import Logged, version_of
from ssa_fast.errors import BackendUnavailable, ConfigError, EngineError, SsaFastError
from ssa_fast.export.engine_folder import Place, keep_engine
from ssa_fast.export.float16 import to_float16
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.parity import Answer, Proof, compare, fitted, merged, open_reference, read_proofs
from ssa_fast.export.profile import Boxes, Profile
from ssa_fast.export.stored_answers import stored_answers
from ssa_fast.export.to_tensorrt import Built, Recipe, build_engine, check_budget, gives_of, one_shape, target_of
from ssa_fast.files import sha256
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.parity import Limits, Parity
from ssa_fast.volume.case import CaseFiles
from ssa_fast.volume.geometry import FloatArray

__all__ = ["Job", "build_best", "recipes_of"]

_ENGINE = "engine.plan"
_GRAPH_PAYS = 0.98  # of the time without: below that it is kept, for a graph is one more thing that may go wrong
_WARM_UP, _ROUNDS = 3, 20


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be built."""

    ours: Logged
    bundle: Bundle
    profile: Profile
    profile_name: str
    cases: Sequence[CaseFiles]  # real brains, on which candidates are proven
    root: Path  # the folder of engines
    quantized: Bundle | None = None  # the same network in int8
    precision: str | None = None  # that was asked for; None: all of the profile's
    is_forced: bool = False  # also in the place of an engine that is better proven

    @property
    def command(self) -> str:
        """What builds it again."""
        kind = "trt-rtx" if self.ours.is_rtx else "trt"
        command = ["ssa-fast", "export", str(self.bundle.path), "--backend", kind, "--profile", self.profile_name]
        command += ["--precision", self.precision] if self.precision else []
        return shlex.join([*command, "--out", str(self.root)]) + " --cases CASES"


@dataclass(frozen=True, kw_only=True)
class _Tried:
    candidate: Candidate
    manifest: Manifest | None = None  # None: it is out
    content: bytes = b""


def recipes_of(job: Job) -> list[Recipe]:
    """The ways to build that the profile's precisions stand for, in its order.

    float16 comes twice with TensorRT 10: with the graph's own types, and with float32's, where the builder takes
    float16 layer by layer if that is faster. int8 comes where the GPU has tensor cores and a quantized bundle is given.
    """
    recipes = []
    for precision in job.profile.precisions:
        if precision == "float32":
            recipes.append(Recipe(name="float32, strongly typed", precision=precision, onnx=job.bundle.content))
        elif precision == "float16":
            half = to_float16(onnx.load_model_from_string(job.bundle.content)).SerializeToString(deterministic=True)
            recipes.append(Recipe(name="float16, strongly typed", precision=precision, onnx=half))
            if hasattr(job.ours.library.BuilderFlag, "FP16"):  # gone in 11
                recipes.append(
                    Recipe(
                        name="float16, weakly typed",
                        precision=precision,
                        onnx=job.bundle.content,
                        is_strongly_typed=False,
                    )
                )
        elif precision == "int8" and job.quantized is not None and job.profile.has_tensor_cores:
            recipes.append(Recipe(name="int8, strongly typed", precision=precision, onnx=job.quantized.content))
    return recipes


def build_best(job: Job) -> tuple[Path, Manifest]:
    """The folder and manifest of the fastest engine that is valid on this machine.

    Valid means: built within the profile's memory, and proven equal to the float32 bundle on the cases. Brain boxes
    come first, for they are segmented in one pass; the one window comes where no engine for boxes is valid.
    TensorRT-RTX only builds: the first recipe that it can build is kept, without parity.

    Raises EngineError if none is valid, ConfigError without cases or for a bundle that is not float32,
    BackendUnavailable if the machine has no driver that serves TensorRT.
    """
    if job.bundle.arithmetic != "float32":
        raise ConfigError(f"{job.bundle.path}: computes in {job.bundle.arithmetic}; give the float32 bundle")
    if not job.ours.is_rtx and not job.cases:
        raise ConfigError("no case to prove engines on: give real cases, --cases CASES")
    if job.ours.is_rtx:
        target_of(job.ours.library, job.profile)
    recipes, tried = recipes_of(job), list[_Tried]()
    for boxes in (job.profile.boxes, one_shape(job.profile.window)):
        with ExitStack() as kept:
            run = _checked_build(job) if job.ours.is_rtx else _proven_build(job, boxes, kept)
            tried += [_attempt(run, recipe, boxes) for recipe in recipes]
        valid = [one for one in tried if one.manifest is not None]
        if valid:
            best = valid[0] if job.ours.is_rtx else min(valid, key=lambda one: one.candidate.milliseconds or np.inf)
            return _written(job, best, tried)
    reasons = "; ".join(f"{one.candidate.name}: {one.candidate.verdict}" for one in tried)
    raise EngineError(f"{job.bundle.path}: no valid engine for profile '{job.profile_name}': {reasons}")


def _attempt(run: Callable[[Recipe, Boxes], _Tried], recipe: Recipe, boxes: Boxes) -> _Tried:
    """What came of a recipe; what is wrong with it alone does not end the others."""
    NOTICES.info("building and trying %s", _name(recipe, boxes))
    try:
        return run(recipe, boxes)
    except BackendUnavailable:
        raise
    except SsaFastError as error:
        why = str(error).partition(f"{recipe.name}: ")[2] or str(error)  # the row has the name already
        return _Tried(candidate=Candidate(name=_name(recipe, boxes), verdict=f"dropped: {why}"))


def _checked_build(job: Job) -> Callable[[Recipe, Boxes], _Tried]:
    """How TensorRT-RTX tries a recipe: it is built, and its planned memory held against the profile."""

    def run(recipe: Recipe, boxes: Boxes) -> _Tried:
        built = _build(job, recipe, boxes)
        needs = {"compute capability": job.profile.capability, "TensorRT-RTX": version_of(job.ours.library)}
        candidate = Candidate(
            name=_name(recipe, boxes),
            build_seconds=built.seconds,
            planned_bytes=built.planned_bytes,
            verdict="built, not run",
        )
        return _Tried(candidate=candidate, manifest=_manifest(job, built, needs), content=built.content)

    return run


def _proven_build(job: Job, boxes: Boxes, kept: ExitStack) -> Callable[[Recipe, Boxes], _Tried]:
    """How TensorRT tries a recipe, until `kept` is closed: it is built, run, proven and timed."""
    try:  # here, for they import TensorRT and CUDA
        runtime = importlib.import_module("ssa_fast.backends.tensorrt")
        cuda = importlib.import_module("ssa_fast.backends.cuda")
    except ImportError as error:
        raise BackendUnavailable(f"running an engine needs more: pip install 'ssa-fast[trt]' ({error})") from error
    needs = runtime.machine()
    reference, answers = _answers(job, boxes, kept)
    shape = (1, len(job.bundle.spec.modalities), *boxes.usual)
    windows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

    def thrice(graphs: Backend, limits: Limits) -> Parity:
        """Each shape in turn, three times: plain, while its graph is captured, and by the graph."""
        return merged([compare(reference, answers, graphs, limits) for _ in range(3)])

    def run(recipe: Recipe, boxes: Boxes) -> _Tried:
        built, limits = _build(job, recipe, boxes), job.profile.limits_of(recipe.precision)
        manifest = _manifest(job, built, needs, cuda.versions())
        engine = runtime.TensorrtBackend(manifest, built.content, job.root)
        try:
            check_budget(engine.planned_bytes, job.profile, recipe.name)
            parity = compare(reference, answers, engine, limits)
            milliseconds = _median_ms(engine.labels if "labels" in manifest.gives else engine.logits, windows)
        finally:
            engine.close()
        manifest = dataclasses.replace(manifest, planned_bytes=engine.planned_bytes, parity=parity)
        if parity.has_passed:
            manifest, milliseconds = _with_graph(
                runtime, job, manifest, built, (windows, milliseconds), lambda graphs: thrice(graphs, limits)
            )
        candidate = Candidate(
            name=_name(recipe, boxes),
            build_seconds=built.seconds,
            planned_bytes=engine.planned_bytes,
            milliseconds=milliseconds,
            label_agreement=parity.label_agreement,
            verdict="valid" if parity.has_passed else f"dropped: {'; '.join(parity.shortcomings)}",
        )
        kept = manifest if parity.has_passed else None
        return _Tried(candidate=candidate, manifest=kept, content=built.content)

    return run


def _with_graph(
    runtime: Any,
    job: Job,
    manifest: Manifest,
    built: Built,
    plain: tuple[Any, float],
    held: Callable[[Backend], Parity],
) -> tuple[Manifest, float]:
    """The manifest and its time, with CUDA graphs if the engine is faster by them and still passes parity."""
    windows, milliseconds = plain
    graph = dataclasses.replace(manifest, built_with={**manifest.built_with, runtime.GRAPH: "yes"})
    engine = runtime.TensorrtBackend(graph, built.content, job.root)
    try:
        if not held(engine).has_passed:
            return manifest, milliseconds
        faster = _median_ms(engine.labels if "labels" in manifest.gives else engine.logits, windows)
    finally:
        engine.close()
    return (graph, faster) if faster < _GRAPH_PAYS * milliseconds else (manifest, milliseconds)


def _build(job: Job, recipe: Recipe, boxes: Boxes) -> Built:
    cache = job.root / f"timings--{job.ours.name.replace(' ', '-').lower()}.cache"
    return build_engine(job.ours, recipe, job.bundle.spec, job.profile, boxes, cache)


def _answers(job: Job, boxes: Boxes, kept: ExitStack) -> tuple[str, Sequence[Answer]]:
    """What the float32 bundle makes of the cases, in the shapes that the engine takes."""
    name, reference = open_reference(job.bundle)
    with closing(reference):
        return name, kept.enter_context(stored_answers(reference, _proofs(job, boxes), job.root))


def _proofs(job: Job, boxes: Boxes) -> Iterator[Proof]:
    """The cases' brain boxes, cut or padded about their middle where an engine for `boxes` does not take them."""
    for proof in read_proofs(job.cases, job.bundle.spec.divisor):
        yield fitted(proof, (boxes.smallest, boxes.largest))


def _median_ms(run: Callable[[FloatArray], object], windows: FloatArray) -> float:
    """Milliseconds that a window takes, host to host: the median of 20 after a warm-up."""
    for _ in range(_WARM_UP):
        run(windows)
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        run(windows)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def _manifest(job: Job, built: Built, needs: dict[str, str], versions: dict[str, str] | None = None) -> Manifest:
    smallest, largest = built.boxes.smallest, built.boxes.largest
    return Manifest(
        backend="trt-rtx" if job.ours.is_rtx else "trt",
        file=_ENGINE,
        engine_sha256=sha256(built.content),
        gives=gives_of(built.boxes),
        bundle_sha256=job.bundle.sha256,
        onnx_sha256=sha256(built.recipe.onnx),
        spec=job.bundle.spec,
        precision=built.recipe.precision,
        profile=job.profile_name,
        needs=needs,
        built_with={"recipe": built.recipe.name, "driver": hardware.nvidia_driver_version(), **(versions or {})},
        shapes=(smallest,) if smallest == largest else (smallest, largest),
        build_seconds=built.seconds,
        planned_bytes=built.planned_bytes,
        command=job.command,
    )


def _written(job: Job, best: _Tried, tried: list[_Tried]) -> tuple[Path, Manifest]:
    """The best engine in its folder, with what became of the others in its manifest."""
    assert best.manifest is not None
    candidates = tuple(
        dataclasses.replace(one.candidate, verdict=f"kept ({one.candidate.verdict})") if one is best else one.candidate
        for one in tried
    )
    manifest = dataclasses.replace(best.manifest, candidates=candidates)
    device = manifest.needs.get("GPU", f"sm{job.profile.capability.replace('.', '')}")
    place = Place(root=job.root, is_forced=job.is_forced)
    folder = keep_engine(place, manifest, {manifest.file: best.content}, device, job.ours.name)
    return folder, manifest


def _name(recipe: Recipe, boxes: Boxes) -> str:
    smallest, largest = ("x".join(map(str, shape)) for shape in (boxes.smallest, boxes.largest))
    return f"{recipe.name}, {largest}" if smallest == largest else f"{recipe.name}, {smallest} to {largest}"
