"""`ssa-fast export`: the case on which a bundle is proven."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_fast.cli.export import _proving_case
from ssa_fast.errors import ConfigError
from tests.cases import write_case


def test_the_case_given_is_the_one_that_is_read(tmp_path: Path) -> None:
    assert _proving_case(write_case(tmp_path, "A")).name == "A"


def test_a_folder_of_cases_is_refused_for_none_of_them_was_chosen(tmp_path: Path) -> None:
    for name in ("A", "B", "C"):
        write_case(tmp_path, name)
    wanted = f"--case {tmp_path} holds 3 cases, wanted one: give one of them, such as {tmp_path / 'A'}"
    with pytest.raises(ConfigError) as caught:
        _proving_case(tmp_path)
    assert str(caught.value) == wanted
