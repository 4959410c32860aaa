"""From a bundle to an OpenVINO engine: compiled for this processor, the fastest form that is proven equal."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssa_fast import hardware
from ssa_fast.backends.base import Choice
from ssa_fast.backends.manifest import Candidate, Manifest
from ssa_fast.backends.openvino import OpenvinoBackend, exported, machine, open_bundle
from ssa_fast.errors import EngineError, SsaFastError
from ssa_fast.export.convert import Form, form_of, int8_form
from ssa_fast.export.engine_folder import Place, keep_engine
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.parity import Answer, compare
from ssa_fast.export.profile import Profile
from ssa_fast.files import sha256
from ssa_fast.model.bundle import Bundle
from ssa_fast.model.parity import Parity

__all__ = ["build_openvino", "usual_profile"]

ENGINE, ENGINE_OF_LABELS = "network.blob", "labels.blob"
_ROUNDS = 3  # that candidates are timed for, A B A B


@dataclass(frozen=True, kw_only=True)
class _Built:
    """A candidate that is compiled and compared."""

    form: Form
    backend: OpenvinoBackend
    build_seconds: float
    parity: Parity


def usual_profile() -> str:
    """The profile for this processor."""
    return "cpu_avx512" if "avx512f" in hardware.cpu().flags else "cpu_avx2"


def build_openvino(
    bundle: Bundle, profile: Profile, profile_name: str, answers: Sequence[Answer], place: Place, *, command: str
) -> tuple[Path, Manifest]:
    """Build an engine of each of the profile's precisions, keep the fastest valid one, and say what came of all.

    `answers` are those of the float32 network on real brains; `command` is what builds the engine again. Returns the
    engine's folder, and its manifest.

    Raises EngineError if no candidate is within the limits, or a better proven engine lies in its place.
    """
    built, dropped = _tried(bundle, profile, answers)
    if not built:
        reasons = "; ".join(f"{precision}: {why}" for precision, why in dropped.items())
        raise EngineError(f"{bundle.path}: no engine can be built ({reasons}): take another --precision")
    times = _times(built, answers[0])
    valid = [precision for precision, one in built.items() if one.parity.has_passed]
    if not valid:
        reasons = "; ".join(f"{name}: {', '.join(one.parity.shortcomings)}" for name, one in built.items())
        raise EngineError(f"{bundle.path}: no engine is equal to it ({reasons}): take the bundle itself")
    best = min(valid, key=lambda precision: times[precision])
    candidates = tuple(_candidate(precision, one, times[precision], best) for precision, one in built.items())
    candidates += tuple(Candidate(name=precision, verdict=f"dropped: {why}") for precision, why in dropped.items())
    one = built[best]
    labels, content = exported(one.backend, "labels"), exported(one.backend, "logits")
    versions = machine()
    manifest = Manifest(
        backend="openvino",
        file=ENGINE,
        engine_sha256=sha256(content),
        gives=("logits", "labels"),
        labels_file=ENGINE_OF_LABELS,
        labels_sha256=sha256(labels),
        bundle_sha256=bundle.sha256,
        onnx_sha256=one.form.bundle.sha256,
        spec=bundle.spec,
        precision=best,
        profile=profile_name,
        needs=versions,
        built_with=_built_with(one),
        build_seconds=one.build_seconds,
        candidates=candidates,
        parity=one.parity,
        command=command,
    )
    files = {ENGINE: content, ENGINE_OF_LABELS: labels}
    folder = keep_engine(
        place, manifest, files, versions["processor"], f"openvino-{versions['openvino'].split('-')[0]}"
    )
    for other in built.values():
        other.backend.close()
    return folder, manifest


def _tried(bundle: Bundle, profile: Profile, answers: Sequence[Answer]) -> tuple[dict[str, _Built], dict[str, str]]:
    """What was built, by precision, and why the others were not."""
    built: dict[str, _Built] = {}
    dropped: dict[str, str] = {}
    for precision in profile.precisions:
        if precision == "float16":
            dropped[precision] = "OpenVINO widens it on a processor: the same engine as float32"
        elif precision == "bf16" and not hardware.cpu().has_bf16:
            dropped[precision] = f"{hardware.cpu().name} has no instructions for it"
        else:
            try:
                built[precision] = _build(bundle, profile, precision, answers)
            except SsaFastError as error:  # the others may serve
                dropped[precision] = str(error)
    return built, dropped


def _build(bundle: Bundle, profile: Profile, precision: str, answers: Sequence[Answer]) -> _Built:
    limits = profile.limits_of(precision)
    NOTICES.info("building it in %s", precision)
    start = time.perf_counter()
    if precision == "int8":
        form = int8_form(bundle, answers, lambda one: open_bundle(one, "auto"), limits=limits)
    else:
        form = form_of(bundle, "float32")
    choice: Choice = "auto" if precision == "int8" else "bf16" if precision == "bf16" else "float32"
    backend = open_bundle(form.bundle, choice)
    seconds = time.perf_counter() - start
    parity = compare(f"{bundle.spec.name} in float32", answers, backend, limits)
    return _Built(form=form, backend=backend, build_seconds=seconds, parity=parity)


def _times(built: dict[str, _Built], answer: Answer) -> dict[str, float]:
    """Median seconds of one brain each, taken in turn, so that a busy moment is everybody's; compiled by now."""
    NOTICES.info("timing what was built")
    seconds: dict[str, list[float]] = {precision: [] for precision in built}
    for _ in range(_ROUNDS):
        for precision, one in built.items():
            start = time.perf_counter()
            one.backend.logits(answer.proof.windows)
            seconds[precision].append(time.perf_counter() - start)
    return {precision: statistics.median(values) for precision, values in seconds.items()}


def _candidate(precision: str, one: _Built, seconds: float, best: str) -> Candidate:
    verdict = "kept: the fastest within its limits" if precision == best else "slower"
    return Candidate(
        name=str(one.backend.device).split(" on ", maxsplit=1)[0].rstrip(","),
        build_seconds=one.build_seconds,
        milliseconds=1000 * seconds,
        label_agreement=one.parity.label_agreement,
        verdict=verdict if one.parity.has_passed else "; ".join(one.parity.shortcomings),
    )


def _built_with(one: _Built) -> dict[str, str]:
    facts = {"threads": str(one.backend.device.threads)}
    if one.backend.device.others is not None:
        facts["others"] = one.backend.device.others
    if one.form.quantization is not None:
        facts["layers in float"] = ", ".join(one.form.quantization.kept) or "none"
        facts["times as long as all in int8"] = f"{one.form.quantization.times_as_long:.2f}"
        facts["calibrated on"] = ", ".join(one.form.quantization.calibrated_on)
    return facts
