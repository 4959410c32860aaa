"""From one bundle to another: the same network in float32, float16 or int8, with what it cost."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import helper

from ssa_fast.backends.base import Backend
from ssa_fast.config import to_mapping
from ssa_fast.errors import BundleError, ParityError
from ssa_fast.export.float16 import to_float16
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.parity import LIMITS, Answer, compare
from ssa_fast.export.quantize import Ranges, layers_of, quantize, ranges_of
from ssa_fast.export.rewrite import REWRITES
from ssa_fast.files import write_whole
from ssa_fast.measure import paired_ratio
from ssa_fast.model.bundle import ARITHMETIC, PARITY, SPEC, Arithmetic, Bundle, sealed
from ssa_fast.model.parity import Limits, Parity
from ssa_fast.volume.geometry import FloatArray

__all__ = ["QUANTIZATION", "Form", "Quantization", "form_of", "int8_form", "write_form"]

QUANTIZATION = "ssa_fast.quantization"
"""Key of an int8 bundle's metadata: what was calibrated on, which layers stayed and what that costs."""

_CALIBRATED = 6  # cases at most: each costs a pass in float32 with every activation kept
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How an int8 bundle was made."""

    calibrated_on: tuple[str, ...]
    kept: tuple[str, ...]  # layers that stayed in float, the most sensitive first
    share_if_kept: Mapping[str, float] = field(default_factory=dict)  # layer: least label agreement with it alone in
    # float; empty where none had to stay
    times_as_long: float = 1.0  # as with every layer in int8


@dataclass(frozen=True, kw_only=True)
class Form:
    """A bundle that is not proven yet, in memory."""

    bundle: Bundle
    quantization: Quantization | None = None


def form_of(bundle: Bundle, arithmetic: Literal["float32", "float16"], rewrites: Sequence[str] = ()) -> Form:
    """The bundle in `arithmetic`, after the named REWRITES. Raises BundleError if it is not in float32 itself."""
    model = _float32_model(bundle)
    for name in rewrites:
        model = REWRITES[name](model)
    return Form(bundle=_unproven(bundle, to_float16(model) if arithmetic == "float16" else model, arithmetic))


def int8_form(
    bundle: Bundle,
    answers: Sequence[Answer],
    judge: Callable[[Bundle], Backend],
    *,
    limits: Limits = LIMITS["int8"],
    rewrites: Sequence[str] = (),
) -> Form:
    """The bundle with as many layers in int8 as `limits` allow on `answers`, run by what `judge` opens.

    Calibrated on up to six of the cases that the network was trained on, so that the others are a test; on others
    where none was. If the limits do not hold with every layer in int8, each layer is kept in float alone, on the case
    that agrees least, and the layers that help most are kept until the limits hold on all cases.

    Raises BundleError if the bundle is not in float32, ParityError if no choice of layers is within the limits.
    """
    model = form_of(bundle, "float32", rewrites).bundle
    graph = onnx.load_from_string(model.content)
    known = set(bundle.spec.trained_cases)
    names = [answer.proof.name for answer in answers]
    places = ([place for place, name in enumerate(names) if name in known] or list(range(len(names))))[:_CALIBRATED]
    ranges = ranges_of(graph, _calibrating(answers, names, places))
    search = _Search(graph, ranges, model, judge, limits)
    whole = search.form(())
    kept, shares = search.kept(answers)
    found = search.form(kept)
    ratio = 1.0
    if kept:
        NOTICES.info("timing it beside all layers in int8")
        with closing(judge(found)) as ours, closing(judge(whole)) as fastest:
            windows = answers[0].proof.windows
            ratio = paired_ratio(lambda: ours.logits(windows), lambda: fastest.logits(windows), rounds=3)
    quantization = Quantization(
        calibrated_on=tuple(names[place] for place in places), kept=kept, share_if_kept=shares, times_as_long=ratio
    )
    return Form(bundle=found, quantization=quantization)


def write_form(form: Form, parity: Parity, path: Path) -> Bundle:
    """Write a form as a bundle with its parity. Raises ParityError, and writes nothing, if it did not pass."""
    parity.check("nothing was written")
    bundle = form.bundle
    notes: dict[str, str] = {}
    if form.quantization is not None:
        notes[QUANTIZATION] = json.dumps(to_mapping(form.quantization))
    notes[PARITY] = json.dumps(to_mapping(parity))
    content = sealed(_with_notes(onnx.load_from_string(bundle.content), bundle, notes))
    write_whole(path, content)
    return dataclasses.replace(bundle, path=path, content=content, parity=parity)


def _calibrating(answers: Sequence[Answer], names: Sequence[str], places: Sequence[int]) -> Iterator[FloatArray]:
    for count, place in enumerate(places, start=1):
        NOTICES.info("calibrating on %d/%d %s", count, len(places), names[place])
        yield answers[place].proof.windows


class _Search:
    """Which layers stay in float."""

    def __init__(
        self, graph: onnx.ModelProto, ranges: Ranges, bundle: Bundle, judge: Callable[[Bundle], Backend], limits: Limits
    ) -> None:
        self._graph, self._ranges, self._bundle, self._judge, self._limits = graph, ranges, bundle, judge, limits

    def form(self, kept: Sequence[str]) -> Bundle:
        return _unproven(self._bundle, quantize(self._graph, self._ranges, kept), "int8")

    def parity(self, kept: Sequence[str], answers: Sequence[Answer]) -> Parity:
        with closing(self._judge(self.form(kept))) as candidate:
            parity = compare("float32", answers, candidate, self._limits)
        _log.info("int8 but for %s: %s", ", ".join(kept) or "nothing", parity)
        return parity

    def kept(self, answers: Sequence[Answer]) -> tuple[tuple[str, ...], dict[str, float]]:
        """The layers that stay, and the label agreement of each one's staying alone on the case that agrees least."""
        if self.parity((), answers).has_passed:
            return (), {}
        worst = min(answers, key=lambda answer: self.parity((), [answer]).label_agreement)
        layers = layers_of(self._graph)
        shares: dict[str, float] = {}
        for count, layer in enumerate(layers, start=1):
            NOTICES.info("which layers must stay in float: trying %d/%d %s", count, len(layers), layer)
            shares[layer] = self.parity((layer,), [worst]).label_agreement
        order = sorted(layers, key=lambda layer: -shares[layer])
        for count in range(1, len(order)):
            NOTICES.info("int8 with layers in float: %d", count)
            if self.parity(order[:count], answers).has_passed:
                return tuple(order[:count]), shares
        raise ParityError(f"{self._bundle.path}: no layer can be in int8 within the limits: take --precision float32")


def _float32_model(bundle: Bundle) -> onnx.ModelProto:
    if bundle.arithmetic != "float32":
        raise BundleError(f"{bundle.path}: computes in {bundle.arithmetic}: give the float32 bundle it was made from")
    return onnx.load_from_string(bundle.content)


def _unproven(bundle: Bundle, model: onnx.ModelProto, arithmetic: Arithmetic) -> Bundle:
    changed = dataclasses.replace(bundle, parity=None, arithmetic=arithmetic)
    return dataclasses.replace(changed, content=_with_notes(model, changed, {}))


def _with_notes(model: onnx.ModelProto, bundle: Bundle, notes: Mapping[str, Any]) -> bytes:
    """The checked file: metadata set, no node that does nothing, shapes inferred throughout without contradiction."""
    helper.set_model_props(model, {SPEC: bundle.spec.to_json(), ARITHMETIC: bundle.arithmetic, **notes})
    onnx.checker.check_model(model, full_check=True)
    assert not [node.name for node in model.graph.node if node.op_type == "Identity"], "the exporter leaves none"
    content: bytes = model.SerializeToString(deterministic=True)
    return content
