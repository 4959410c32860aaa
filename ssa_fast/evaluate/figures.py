"""One picture a case: the slice with most tumour, images over reference over prediction."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ssa_fast.evaluate.scores import score_volumes, voxel_ml
from ssa_fast.files import write_whole
from ssa_fast.labels import (
    ED,
    ET,
    LABEL_COLORS,
    LABEL_NAMES,
    LABEL_TITLES,
    MODALITIES,
    MODALITY_TITLES,
    NCR,
    REGIONS,
)
from ssa_fast.volume.case import Case, CaseFiles, errors_of_case, read_case, same_grid
from ssa_fast.volume.geometry import BoolArray, FloatArray, LabelArray, bounding_box, to_ras
from ssa_fast.volume.nifti import Volume, read_labels
from ssa_fast.volume.slices import radiological, tumor_slice

__all__ = ["Overlay", "draw_overlay", "draw_panel", "overlay_figure", "read_overlay"]

_Dashes: TypeAlias = tuple[float, tuple[float, ...]]  # as matplotlib takes them
_Line: TypeAlias = tuple[float, _Dashes]  # width in points, dashes
_SOLID: _Dashes = (0, ())
# drawn in this order; the enhancing tumour, which matters most, is the lightest and the thickest
_LINES: dict[int, _Line] = {ED: (1.3, _SOLID), ET: (1.8, _SOLID), NCR: (1.5, (0, (3, 1)))}
_REFERENCE_LINE: _Line = (1.2, (0, (1, 1.2)))
_FILL = 0.16  # opacity: what lies under it stays readable
_LEVEL = 0.75  # of a 0/1 mask: a quarter of a voxel inside it, so that the lines of two neighbours lie side by side
_WINDOW_PERCENTILES = (3, 99.8)  # of a modality's own brain voxels, shown as black and white
_MARGIN = 8  # voxels around the brain
_SCALE_BARS = (50, 20, 10)  # voxels, and so mm: `read_case` takes cases of 1 mm only
_NAME_LETTERS = 45  # of a case's name that fit beside the table

_INK, _QUIET, _PAPER = "#FFFFFF", "#B0B0B0", "#000000"
_SANS, _MONO = "DejaVu Sans", "DejaVu Sans Mono"  # matplotlib brings them: one picture on every machine
_TEXT: Mapping[str, Any] = {"color": _INK, "family": _SANS}
_DPI = 110
_WIDTH, _LEFT, _GAP, _HEADER, _FOOTER = 13.0, 0.45, 0.06, 1.3, 0.5  # inches


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """One axial slice as rows and columns of the screen, with what is said about the whole volume."""

    name: str
    place: str
    images: tuple[FloatArray, ...]  # 0 black, 1 white; in the order of MODALITIES
    labels: Mapping[str, LabelArray]  # "reference" where there is one, then "prediction"
    table: str


def draw_overlay(files: CaseFiles, prediction: Path, out: Path) -> Path:
    """`out`, written as a PNG of `overlay_figure`: whole or not at all, and equal bytes for equal files.

    Raises CaseError like `overlay_figure`.
    """
    figure = overlay_figure(files, prediction)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, facecolor=_PAPER, metadata={"Software": None})
    write_whole(out, content.getvalue())
    return out


def overlay_figure(files: CaseFiles, prediction: Path) -> Figure:
    """The four modalities of a case: bare, under the reference where there is one, and under a prediction.

    Radiological convention: the patient's right on the left, anterior up. Dice and volumes are of the whole volume.
    Raises CaseError like `read_overlay`.
    """
    return _draw(read_overlay(files, prediction))


def read_overlay(files: CaseFiles, prediction: Path) -> Overlay:
    """The slice of a case that is shown, with what is labelled there.

    Raises CaseError if the case or the prediction cannot be read, or they are on different grids.
    """
    case = read_case(files)
    with errors_of_case(files.name):
        predicted = read_labels(prediction)
        same_grid(predicted, case.grid)
        reference = None if files.reference is None else read_labels(files.reference)
        if reference is not None:
            same_grid(reference, case.grid)
    return _overlay(case, reference, predicted)


def _overlay(case: Case, reference: Volume | None, predicted: Volume) -> Overlay:
    arrays = [to_ras(volume.array, volume.affine) for volume in case.volumes]
    brain = arrays[0] != 0
    for array in arrays[1:]:
        brain |= array != 0
    found = {"prediction": _labels_ras(predicted)}
    if reference is not None:
        found["reference"] = _labels_ras(reference)
    source = "reference" if "reference" in found and found["reference"].any() else "prediction"
    z = tumor_slice(found[source], brain)
    why = f"most tumour in the {source}" if found[source].any() else "the middle of the brain, for there is no tumour"

    shown = brain[:, :, z].copy()
    for labels in found.values():
        shown |= labels[:, :, z] > 0
    box = bounding_box(shown[:, :, np.newaxis])
    x, y = (slice(box.start[axis], box.stop[axis] + 2 * _MARGIN) for axis in (0, 1))

    def on_screen(plane: npt.NDArray[np.generic]) -> npt.NDArray[Any]:
        return radiological(np.pad(plane, _MARGIN)[x, y])

    return Overlay(
        name=case.name,
        place=f"axial slice {z + 1} of {brain.shape[2]}, counted from below: {why}",
        images=tuple(on_screen(_windowed(array, z)) for array in arrays),
        labels={row: on_screen(found[row][:, :, z]) for row in sorted(found, reverse=True)},
        table=_table(case.name, reference, predicted),
    )


def _labels_ras(volume: Volume) -> LabelArray:
    return np.asarray(to_ras(volume.array, volume.affine), dtype=np.uint8)


def _windowed(array: npt.NDArray[np.generic], z: int) -> FloatArray:
    """One axial slice from 0 to 1 by the percentiles of the whole brain, 0 outside it: intensities may be negative."""
    voxels = array.ravel(order="K")  # as in memory: a mask over a Fortran array is slow otherwise
    low, high = np.percentile(voxels[voxels != 0].astype(np.float32), _WINDOW_PERCENTILES)
    plane = np.asarray(array[:, :, z], dtype=np.float32)
    gray = np.clip((plane - low) / (high - low or 1), 0, 1)
    return np.where(plane != 0, gray, 0).astype(np.float32)


def _table(name: str, reference: Volume | None, predicted: Volume) -> str:
    """Dice and volumes of the regions, aligned for a font of one width."""
    if reference is None:
        labels, ml = np.asarray(predicted.array), voxel_ml(predicted)
        volumes = [np.count_nonzero(np.isin(labels, values)) * ml for values in REGIONS.values()]
        rows = {"predicted, ml": [f"{volume:.1f}" for volume in volumes]}
    else:
        scores = score_volumes(name, reference, predicted)
        rows = {
            "Dice": [f"{scores.value('dice', region):.3f}" for region in REGIONS],
            "reference, ml": [f"{scores.value('reference_ml', region):.1f}" for region in REGIONS],
            "predicted, ml": [f"{scores.value('predicted_ml', region):.1f}" for region in REGIONS],
        }
    lines = {"whole volume": list(REGIONS), **rows}
    return "\n".join(f"{head:13}" + "".join(f"{cell:>8}" for cell in cells) for head, cells in lines.items())


def _draw(overlay: Overlay) -> Figure:
    rows: dict[str, LabelArray | None] = {"images": None, **overlay.labels}
    height, width = overlay.images[0].shape
    panel_width = (_WIDTH - _LEFT - len(MODALITIES) * _GAP) / len(MODALITIES)
    panel_height = panel_width * height / width
    page = _HEADER + len(rows) * (panel_height + _GAP) + _FOOTER

    figure = Figure(figsize=(_WIDTH, page), dpi=_DPI, facecolor=_PAPER)
    FigureCanvasAgg(figure)
    for row, (title, labels) in enumerate(rows.items()):
        bottom = page - _HEADER - (row + 1) * panel_height - row * _GAP
        middle = (bottom + panel_height / 2) / page
        figure.text(0.2 / _WIDTH, middle, title, fontsize=13, rotation=90, ha="center", va="center", **_TEXT)
        for column, (modality, image) in enumerate(zip(MODALITIES, overlay.images, strict=True)):
            left = _LEFT + column * (panel_width + _GAP)
            axes = figure.add_axes((left / _WIDTH, bottom / page, panel_width / _WIDTH, panel_height / page))
            axes.set_label(f"{title} {modality}")
            draw_panel(axes, image, labels, overlay.labels.get("reference") if title == "prediction" else None)
            if row == 0:
                axes.set_title(f"{MODALITY_TITLES[modality]}  ({modality})", fontsize=12, pad=5, **_TEXT)
    _draw_scale(figure.axes[0], width)
    _write_words(figure, overlay)
    _draw_legend(figure, has_reference="reference" in overlay.labels)
    return figure


def draw_panel(
    axes: Axes, image: FloatArray, labels: LabelArray | None = None, reference: LabelArray | None = None
) -> None:
    """One slice (rows, columns) as the screen has it, under `labels`, with a dotted line around all of `reference`."""
    axes.set_axis_off()
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
    axes.autoscale(False)
    side = {"fontsize": 10, "va": "center", "transform": axes.transAxes, **_TEXT, "color": _QUIET}
    axes.text(0.02, 0.5, "R", ha="left", **side)
    axes.text(0.98, 0.5, "L", ha="right", **side)
    if labels is None:
        return
    if not labels.any():
        axes.text(0.5, 0.01, "no tumour in this slice", fontsize=10, ha="center", transform=axes.transAxes, **_TEXT)
    fill = np.zeros((*labels.shape, 4))
    for label, color in LABEL_COLORS.items():
        fill[labels == label] = to_rgba(color, _FILL)
    axes.imshow(fill, interpolation="nearest")
    for label, line in _LINES.items():
        _outline(axes, labels == label, line, LABEL_COLORS[label])
    if reference is not None:  # below the prediction's own lines
        _outline(axes, reference > 0, _REFERENCE_LINE, _INK, zorder=1)


def _outline(axes: Axes, mask: BoolArray, line: _Line, color: str, *, zorder: int = 2) -> None:
    if not mask.any():  # matplotlib warns of a contour that is nowhere
        return
    width, dashes = line
    smooth = mask.astype(np.float32)
    strokes = ((_PAPER, width + 1.2, _SOLID, 0.6), (color, width, dashes, 1.0))  # dark below: seen on white, too
    for ink, points, style, alpha in strokes:
        drawn = axes.contour(smooth, levels=[_LEVEL], colors=[ink], linewidths=points, linestyles=[style], alpha=alpha)
        drawn.set_zorder(zorder)


def _draw_scale(axes: Axes, width: int) -> None:
    length = next((length for length in _SCALE_BARS if length <= width / 2), _SCALE_BARS[-1])
    bottom = axes.get_ylim()[0] - 4
    axes.plot([4, 4 + length], [bottom, bottom], color=_INK, linewidth=2, solid_capstyle="butt")
    axes.text(4, bottom - 2, f"{length} mm", fontsize=9, va="bottom", **_TEXT)


def _write_words(figure: Figure, overlay: Overlay) -> None:
    page = figure.get_figheight()
    left, right = _LEFT / _WIDTH, 1 - 0.2 / _WIDTH
    size = min(18, 18 * _NAME_LETTERS / len(overlay.name))  # a longer name would run into the table
    figure.text(left, 1 - 0.42 / page, overlay.name, fontsize=size, weight="bold", parse_math=False, **_TEXT)
    figure.text(left, 1 - 0.72 / page, overlay.place, fontsize=11.5, **_TEXT)
    table = {**_TEXT, "family": _MONO}
    figure.text(right, 1 - 0.14 / page, overlay.table, fontsize=11, ha="right", va="top", linespacing=1.35, **table)
    note = {**_TEXT, "color": _QUIET}
    figure.text(right, 0.25 / page, "R: the patient's right; anterior is up", fontsize=10, ha="right", **note)


def _draw_legend(figure: Figure, *, has_reference: bool) -> None:
    handles: list[Patch | Line2D] = []
    for label, name in LABEL_NAMES.items():
        width, dashes = _LINES[label]
        patch = Patch(facecolor=to_rgba(LABEL_COLORS[label], 0.45), edgecolor=LABEL_COLORS[label], lw=width, ls=dashes)
        patch.set_label(f"{name}  {LABEL_TITLES[label]}")
        handles.append(patch)
    if has_reference:
        width, dashes = _REFERENCE_LINE
        handles.append(Line2D([], [], color=_INK, lw=width, ls=dashes, label="reference, whole tumour"))
    place = (_LEFT / _WIDTH, 0.06 / figure.get_figheight())
    font = {"family": _SANS, "size": 11.5}
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=place, ncols=4, prop=font, labelcolor=_INK, frameon=False
    )
