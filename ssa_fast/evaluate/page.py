"""A page a case, to turn and scroll in any browser without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.errors import CaseError
from ssa_fast.evaluate.outside import TrainingRanges, outside_of, shipped_ranges
from ssa_fast.evaluate.page_facts import Provenance, facts_html, read_provenance, unlike_html
from ssa_fast.evaluate.page_surface import mz3_bytes, surface_of
from ssa_fast.evaluate.page_template import base64_text, filled_template, head_html, made_by, viewer_text
from ssa_fast.evaluate.page_thumbnail import thumbnail_png
from ssa_fast.evaluate.page_volumes import DIFFERENCES, ByteArray, Scene, difference, nifti_bytes, read_scene
from ssa_fast.evaluate.scores import CaseScores, score_volumes, voxel_ml
from ssa_fast.files import write_whole
from ssa_fast.labels import ED, ET, LABEL_COLORS, LABEL_NAMES, LABEL_TITLES, LABELS, MODALITIES, MODALITY_TITLES, NCR
from ssa_fast.volume.case import CaseFiles, errors_of_case
from ssa_fast.volume.geometry import LabelArray
from ssa_fast.volume.nifti import Volume, read_labels

__all__ = ["LARGEST_BYTES", "CasePage", "write_case_page"]

LARGEST_BYTES = 15_000_000
"""Of a page."""

_NIIVUE = "niivue-0.69.0.umd.js"  # of dist/ in the npm package @niivue/niivue 0.69.0, unaltered
_COARSE = (1, 4, 16)  # grey levels that become one, where a page would be too large
_MAP_RANGE = (0.05, 0.5)  # 0.5 is the most that two labels, or two votes, can be undecided by
_MAP_TITLES = {"entropy": "uncertainty (entropy)", "disagreement": "disagreement of votes"}
_MAP_ABOUT = {
    "entropy": "0 where one label has all the probability, 1 where all are equally likely",
    "disagreement": "how far the votes disagree, from 0 to 1",
}


@dataclass(frozen=True, kw_only=True)
class CasePage:
    """A page that was written, and what a list of pages says of it."""

    name: str
    path: Path
    scores: CaseScores | None  # None: the case has no reference
    look_first: tuple[str, ...]  # regions, by the record
    least_expected: float | None  # of the agreement, else of the expected Dice, over the regions; by the record
    thumbnail: bytes  # PNG
    unlike: tuple[str, ...] = ()  # what of it is outside the training cases
    is_empty: bool = False  # no tumour was found

    @property
    def rank(self) -> tuple[bool, float, str]:
        """Worst first: by mean Dice; then, of cases without a reference, by what the record says of doubt.

        Of these, a case in which no tumour was found comes before all: no number of a record tells that.
        """
        if self.scores is not None:
            return False, self.scores.mean_dice, self.name
        doubted = 1.0 if self.least_expected is None else self.least_expected
        return True, -1.0 if self.is_empty else doubted, self.name


def write_case_page(files: CaseFiles, prediction: Path, out: Path, training: TrainingRanges | None = None) -> CasePage:
    """Write one HTML file about a prediction, with all that it shows in it: it opens without network and server.

    Four modalities, and over them prediction, reference, their difference, and the maps of `infer --uncertainty` that
    the record beside the prediction vouches for; surfaces, volumes, scores and provenance; and what
    is unlike the `training` cases, by default those of the shipped bundle that the record names.
    Raises CaseError if a file cannot be read, grids differ, or the page would be larger than `LARGEST_BYTES`.
    """
    with errors_of_case(files.name):
        predicted = read_labels(prediction)
        reference = None if files.reference is None else read_labels(files.reference)
        scores = None if reference is None else score_volumes(files.name, reference, predicted)
    provenance = read_provenance(prediction, files.name)
    scene = read_scene(files, predicted, provenance.maps)
    ranges = training or shipped_ranges(str(provenance.record.get("bundle_sha256")))
    unlike = None if ranges is None else _unlike(files, predicted, ranges)
    parts = {
        "head": head_html(files.name, "case"),
        "facts": facts_html(scores, predicted, provenance, unlike_html(unlike, ranges)),
        "footer": _footer_html(),
        "viewer": viewer_text(_NIIVUE),
    }
    write_whole(out, _fitting_page(files.name, scene, parts))
    return CasePage(
        name=files.name,
        path=out,
        scores=scores,
        look_first=provenance.words("look_first"),
        least_expected=_least_expected(provenance),
        thumbnail=thumbnail_png(scene),
        unlike=tuple(unlike or ()),
        is_empty=not np.any(predicted.array),
    )


def _unlike(files: CaseFiles, predicted: Volume, ranges: TrainingRanges) -> list[str]:
    try:
        return outside_of(files, np.count_nonzero(predicted.array) * voxel_ml(predicted), ranges)
    except CaseError as error:  # the page shows what there is, all the same
        return [f"cannot be said ({error})"]


def _fitting_page(name: str, scene: Scene, parts: Mapping[str, str]) -> bytes:
    data = _scene_json(scene)
    for coarse in _COARSE:
        images = nifti_bytes(scene.images if coarse == 1 else _coarsened(scene, coarse), scene.affine)
        fewer = "" if coarse == 1 else f" Images are in {256 // coarse} levels of grey, to keep this page small."
        filled = {
            **parts,
            "footer": parts["footer"] + fewer,
            "data": _script_json({**data, "images": base64_text(images)}),
        }
        page = filled_template("case.html", filled).encode()
        if len(page) <= LARGEST_BYTES:
            return page
    raise CaseError(
        f"case {name}: its page would have {len(page) / 1e6:.1f} MB, at most {LARGEST_BYTES / 1e6:.0f}: "
        "the images have too many voxels outside of a brain; strip the skull first"
    )


def _coarsened(scene: Scene, coarse: int) -> ByteArray:
    middle = scene.images // coarse * coarse + coarse // 2
    return np.where(scene.images > 0, middle, 0).astype(np.uint8)


def _scene_json(scene: Scene) -> dict[str, Any]:
    shape = scene.images.shape[:3]
    return {
        "modalities": [{"key": key, "title": f"{MODALITY_TITLES[key]} ({key})"} for key in MODALITIES],
        "overlays": _overlays(scene),
        "surfaces": _surfaces(scene),
        "shape": list(shape),
        "first_slice": scene.first_slice,
        "slices": scene.slices,
        "shown_slice": scene.shown_slice,
        "shown_point": _shown_point(scene),
    }


def _shown_point(scene: Scene) -> list[float]:
    """Where the crosshair begins: the middle of the tumour in the slice shown, as shares of the crop's edges."""
    z = scene.shown_slice - scene.first_slice
    labels = next((labels for labels in reversed(list(scene.labels.values())) if labels[:, :, z].any()), None)
    middle = [0.5, 0.5] if labels is None else (np.argwhere(labels[:, :, z]).mean(axis=0) + 0.5) / labels.shape[:2]
    return [float(middle[0]), float(middle[1]), (z + 0.5) / scene.images.shape[2]]


def _overlays(scene: Scene) -> dict[str, Any]:
    colors = [{"name": f"{LABEL_NAMES[it]} {LABEL_TITLES[it]}", "color": LABEL_COLORS[it]} for it in LABELS]
    overlays: dict[str, Any] = {
        name: {"title": name, "colors": colors, "data": base64_text(nifti_bytes(labels, scene.affine))}
        for name, labels in scene.labels.items()
    }
    if "reference" in scene.labels:
        kinds = difference(scene.labels["reference"], scene.labels["prediction"])
        rows = [{"name": name, "color": color} for name, color in DIFFERENCES.values()]
        data = base64_text(nifti_bytes(kinds, scene.affine))
        overlays["difference"] = {"title": "difference", "colors": rows, "data": data}
    for kind, values in scene.maps.items():
        data = base64_text(nifti_bytes(values, scene.affine))
        overlays[kind] = {"title": _MAP_TITLES[kind], "range": _MAP_RANGE, "about": _MAP_ABOUT[kind], "data": data}
    return overlays


def _surfaces(scene: Scene) -> list[dict[str, Any]]:
    """Of each label map the necrotic core, the enhancing tumour and the whole; then the brain, at half its voxels."""
    surfaces = []

    def add(of: str, name: str, look: tuple[str, float], mask: LabelArray, step: int = 1) -> None:
        surface = surface_of(mask[::step, ::step, ::step] > 0, scene.affine @ np.diag([step, step, step, 1]))
        if len(surface.triangles):
            data = base64_text(mz3_bytes(surface))
            surfaces.append({"of": of, "name": name, "color": look[0], "opacity": look[1], "data": data})

    for of, labels in scene.labels.items():
        for label in (NCR, ET):
            own = (labels == label).astype(np.uint8)
            add(of, f"{LABEL_NAMES[label]} {LABEL_TITLES[label]}", (LABEL_COLORS[label], 1.0), own)
        add(of, "WT whole tumour", (LABEL_COLORS[ED], 0.35), labels)
    add("brain", "brain", ("#E0E0E0", 0.25), scene.images.max(axis=3), step=2)
    return surfaces


def _least_expected(provenance: Provenance) -> float | None:
    doubt = provenance.table("doubt")
    values = (doubt.get("agreement") or doubt.get("expected_dice") or {}).values()
    return min((value for value in values if value is not None), default=None)


def _footer_html() -> str:
    licenses = (
        f"<details><summary>Licences of the viewer</summary><pre>{escape(viewer_text('LICENSES.txt'))}</pre></details>"
    )
    version = _NIIVUE.removeprefix("niivue-").removesuffix(".umd.js")
    return f"{licenses} {made_by()} Viewer: NiiVue {version} (BSD-2-Clause), in this file."


def _script_json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")  # nothing in it can end the script
