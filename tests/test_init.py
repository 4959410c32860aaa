"""The public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ssa_fast


def test_every_public_name_is_there_and_has_one_home() -> None:
    assert sorted(ssa_fast.__all__) == sorted([*ssa_fast._HOMES, "__version__"])
    for name in ssa_fast.__all__:
        assert getattr(ssa_fast, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'segment_all'"):
        _ = ssa_fast.segment_all


def test_importing_ssa_fast_imports_nothing_heavy() -> None:
    code = "import sys, ssa_fast; assert not {'numpy', 'nibabel', 'torch', 'click'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
