"""From a case to the network's input."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ssa_fast.errors import CaseError
from ssa_fast.labels import MODALITIES
from ssa_fast.volume.case import Case, find_cases, read_case
from ssa_fast.volume.geometry import Box
from ssa_fast.volume.nifti import Volume
from ssa_fast.volume.preprocess import crop_to_brain, pad_brain, z_score
from tests.cases import ORIENTATIONS, SHAPE, brain_ellipsoid, brain_values, turned_affine, write_case


def _case(*arrays: npt.NDArray[np.generic], affine: npt.NDArray[np.float64] | None = None) -> Case:
    """Four arrays (the last one repeated where there are fewer) as a case that was read."""
    arrays = (*arrays, *[arrays[-1]] * (len(MODALITIES) - len(arrays)))
    affine = np.eye(4) if affine is None else affine
    header = nibabel.Nifti1Header()
    volumes = (Volume(path=Path("a.nii"), array=array, affine=affine, header=header) for array in arrays)
    return Case(name="A", volumes=tuple(volumes))


class TestZScore:
    @given(hnp.arrays(np.float32, (4, 3, 2), elements=st.integers(-1000, 1000).map(float)))
    def test_non_zero_voxels_have_mean_0_and_deviation_1_and_zeros_stay(self, channel: npt.NDArray[np.float32]) -> None:
        before = channel.copy()
        inside = before != 0
        if np.unique(before[inside]).size < 2:
            return
        z_score(channel)
        assert (channel[~inside] == 0).all()
        assert channel[inside].mean(dtype=np.float64) == pytest.approx(0, abs=1e-5)
        assert channel[inside].std(dtype=np.float64) == pytest.approx(1, abs=1e-5)

    def test_three_voxels_worked_by_hand(self) -> None:
        channel = np.array([[[0, 2, 4, 6, 0]]], dtype=np.float32)  # mean 4, variance 8/3
        z_score(channel)
        np.testing.assert_allclose(channel, [[[0, -1.224745, 0, 1.224745, 0]]], atol=1e-6)

    @given(scale=st.sampled_from([0.01, 1, 3.5, 40]), shift=st.sampled_from([-20_000, 0, 500]), negate=st.booleans())
    def test_the_scanners_scale_and_offset_do_not_matter(self, scale: float, shift: float, negate: bool) -> None:
        inside = brain_ellipsoid()
        values = brain_values()
        wanted = values.astype(np.float32)
        z_score(wanted)
        scaled = np.where(inside, (-values if negate else values) * scale + shift, 0).astype(np.float32)
        if (scaled[inside] == 0).any():
            return  # a zero in the brain is no brain any more
        z_score(scaled)
        np.testing.assert_allclose(scaled, -wanted if negate else wanted, atol=5e-3 if scale < 1 else 2e-4)

    @given(exponent=st.integers(-126, 118), negate=st.booleans())
    def test_an_image_of_any_scale_that_float32_holds_is_normalized_alike(self, exponent: int, negate: bool) -> None:
        wanted = brain_values().astype(np.float32)
        scaled = np.ldexp(wanted, exponent) * np.float32(-1 if negate else 1)  # exact: powers of two
        z_score(wanted)
        z_score(scaled)
        np.testing.assert_allclose(scaled, -wanted if negate else wanted, atol=1e-5)

    @given(
        hnp.arrays(
            np.float32,
            (4, 3, 2),
            elements=st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1e-30, 1e30]),
        )
    )
    def test_any_finite_numbers_are_normalized_or_refused_as_one_value(self, channel: npt.NDArray[np.float32]) -> None:
        before = channel.copy()
        inside = before != 0
        if not inside.any():
            return
        exact = before[inside].astype(np.float64)
        try:
            z_score(channel)
        except CaseError:
            assert exact.std() <= 1.1e-6 * np.abs(exact.mean())
        else:
            np.testing.assert_allclose(channel[inside], (exact - exact.mean()) / exact.std(), rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("value", [7.0, -3.5, 1e-3, 65_000.0, 1e-30, -1e30])
    def test_one_value_throughout_is_refused(self, value: float) -> None:
        with pytest.raises(CaseError, match=f"all non-zero voxels have the value {re.escape(f'{value:g}')}:"):
            z_score(np.where(brain_ellipsoid(), value, 0).astype(np.float32))

    def test_the_result_is_the_array_that_was_given(self) -> None:
        channel = brain_values().astype(np.float32)
        assert z_score(channel) is None
        assert abs(channel).max() < 10


class TestCropToBrain:
    def test_the_box_holds_every_voxel_that_is_not_zero_in_some_modality(self) -> None:
        arrays = [np.zeros(SHAPE) for _ in MODALITIES]
        # each modality has two voxels of its own, one of them negative
        for number, array in enumerate(arrays):
            array[3 + number, 4, 5] = 10 + number
            array[5, 5 + number, 5 + 2 * number] = -1
        brain = crop_to_brain(_case(*arrays))
        assert brain.box == Box((3, 4, 5), (7, 9, 12))
        assert brain.array.shape == (4, 4, 5, 7)
        assert brain.ras_shape == SHAPE
        assert int(brain.foreground.sum()) == 8

    def test_the_foreground_is_the_brain_and_all_else_is_zero(self) -> None:
        brain = crop_to_brain(_case(*(brain_values(seed=seed) for seed in range(4))))
        np.testing.assert_array_equal(brain.foreground, brain_ellipsoid()[brain.box.slices])
        assert not brain.array[:, ~brain.foreground].any()
        assert brain.array.dtype == np.float32
        assert brain.array.flags.c_contiguous

    def test_channels_are_the_modalities_in_order_each_z_scored_alone(self) -> None:
        arrays = [10 ** (seed + 1) * brain_values(seed=seed) for seed in range(4)]
        brain = crop_to_brain(_case(*arrays))
        for channel, array in zip(brain.array, arrays, strict=True):
            values = array[brain_ellipsoid()]
            wanted = (values - values.mean()) / values.std()
            np.testing.assert_allclose(channel[brain.foreground], wanted, atol=1e-5)

    def test_a_brain_of_negative_values_is_found_and_normalized_like_one_of_positive_ones(self) -> None:
        values = brain_values()
        negative = np.where(brain_ellipsoid(), values - values.max() - 1, 0)
        brain, wanted = crop_to_brain(_case(negative)), crop_to_brain(_case(values))
        assert brain.box == wanted.box
        np.testing.assert_array_equal(brain.foreground, wanted.foreground)
        np.testing.assert_allclose(brain.array, wanted.array, atol=1e-5)

    @pytest.mark.parametrize("axes", ORIENTATIONS)
    def test_the_network_sees_the_same_brain_whatever_the_axes_of_the_file(self, axes: str) -> None:
        ras = brain_values()
        affine = turned_affine(axes)
        into_file = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(axes)
        )
        turned = nibabel.orientations.apply_orientation(ras, into_file)
        brain, wanted = crop_to_brain(_case(turned, affine=affine)), crop_to_brain(_case(ras))
        assert brain.box == wanted.box
        np.testing.assert_allclose(brain.array, wanted.array, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "<f4", ">f4", "<f8"])
    def test_the_type_on_disk_does_not_matter(self, dtype: str) -> None:
        values = np.abs(brain_values())
        brain = crop_to_brain(_case(np.asfortranarray(values.astype(dtype))))
        np.testing.assert_allclose(brain.array, crop_to_brain(_case(values)).array, atol=1e-6)

    def test_the_case_is_left_as_it_was(self) -> None:
        values = brain_values().astype(np.float32)
        crop_to_brain(_case(values))
        np.testing.assert_array_equal(values, brain_values())

    @pytest.mark.parametrize("scale", [1e-300, 1e-46, 1e40, 1e300])
    def test_values_that_float32_cannot_hold_are_refused_with_their_case(self, scale: float) -> None:
        with pytest.raises(CaseError, match=r"^case A: t1c: values reach .* beyond float32: rescale the image"):
            crop_to_brain(_case(brain_values(), scale * brain_values(), brain_values()))

    @pytest.mark.parametrize("scale", [1e-30, 1e30])
    def test_a_float64_image_of_a_scale_that_float32_holds_is_taken(self, scale: float) -> None:
        brain = crop_to_brain(_case(brain_values(), scale * brain_values()))
        np.testing.assert_allclose(brain.array[1], brain.array[0], atol=1e-5)

    def test_a_constant_modality_is_named_with_its_case(self) -> None:
        constant = np.where(brain_ellipsoid(), 7.0, 0)
        with pytest.raises(CaseError, match=r"^case A: t2w: all non-zero voxels have the value 7"):
            crop_to_brain(_case(brain_values(), brain_values(), constant, brain_values()))

    def test_a_real_brain_is_about_140_172_138_voxels_and_a_sixth_of_its_volume(self, shared_ssa: Path) -> None:
        case = read_case(find_cases([shared_ssa / "BraTS-SSA-00007-000"])[0])
        brain = crop_to_brain(case)
        for edge, usual in zip(brain.box.shape, (140, 172, 138), strict=True):
            assert abs(edge - usual) < 25
        assert 0.12 < brain.foreground.sum() / np.prod(brain.ras_shape) < 0.25
        for channel, volume in zip(brain.array, case.volumes, strict=True):
            inside = volume.array[brain.box.slices] != 0
            assert channel[inside].mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
            assert channel[inside].std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


class TestPadBrain:
    @pytest.mark.parametrize("divisor", [1, 8, 16, 32])
    def test_the_brain_lies_unchanged_in_a_batch_of_one(self, divisor: int, tmp_path: Path) -> None:
        brain = crop_to_brain(read_case(find_cases([write_case(tmp_path, "A")])[0]))
        windows, inner = pad_brain(brain, divisor)
        assert windows.shape[:2] == (1, 4)
        assert all(edge % divisor == 0 for edge in windows.shape[2:])
        np.testing.assert_array_equal(windows[(0, slice(None), *inner.slices)], brain.array)
        assert np.count_nonzero(windows) == np.count_nonzero(brain.array)
