"""The exception tree that callers rely on."""

from __future__ import annotations

import builtins
import re

import pytest

from ssa_fast import errors

_OWN = [getattr(errors, name) for name in errors.__all__ if name != "SsaFastError"]


def test_all_lists_every_exception_of_the_module() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(errors.__all__)


@pytest.mark.parametrize("error", _OWN, ids=lambda error: error.__name__)
def test_every_error_is_caught_as_ours_and_as_the_builtin_its_line_in_the_tree_names(error: type[Exception]) -> None:
    line = re.search(rf"── {error.__name__} .*\((?P<builtin>\w+)\)", errors.__doc__ or "")
    assert line is not None
    with pytest.raises(errors.SsaFastError, match=r"^one line$"):
        raise error("one line")
    with pytest.raises(getattr(builtins, line["builtin"])):
        raise error("one line")


def test_a_bug_of_ours_is_not_caught_as_one_of_our_errors() -> None:
    assert not issubclass(ValueError, errors.SsaFastError)
    assert errors.SsaFastError.__bases__ == (Exception,)
