"""What a reference makes of many brains, on the disk: every candidate is held against it, and memory holds few."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ssa_fast.backends import Backend
from ssa_fast.export.notices import NOTICES
from ssa_fast.export.parity import Answer, Proof, answers_of
from ssa_fast.files import os_errors_of

__all__ = ["stored_answers"]


@contextmanager
def stored_answers(reference: Backend, proofs: Iterable[Proof], place: Path) -> Iterator[Sequence[Answer]]:
    """What the reference makes of each proof, read from the disk each time that it is asked for.

    0.13 GB a brain, in a folder of its own that is gone afterwards. It lies in `place`, or the nearest folder above it
    that is there, for that is a disk: the system's own for such files may be memory. Raises OSError if that is full.
    """
    above = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".answers-", suffix=".partial", dir=above) as folder:
        paths: list[Path] = []
        for proof in proofs:
            NOTICES.info("reference: %s", proof.name)
            [answer] = answers_of(reference, [proof])
            paths.append(Path(folder, f"{len(paths)}.npz"))
            _store(answer, paths[-1])
            del proof, answer
        yield _Stored(paths)


class _Stored(Sequence[Answer]):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return _Stored(self._paths[place])
        with np.load(self._paths[place]) as arrays:
            proof = Proof(
                name=str(arrays["name"]),
                windows=arrays["windows"],
                foreground=arrays["foreground"],
                truth=arrays.get("truth"),
            )
            return Answer(proof=proof, logits=arrays["logits"], labels=arrays["labels"])


def _store(answer: Answer, path: Path) -> None:
    proof = answer.proof
    arrays: dict[str, Any] = {} if proof.truth is None else {"truth": proof.truth}
    with os_errors_of(path):
        np.savez(
            path,
            name=np.array(proof.name),
            windows=proof.windows,
            foreground=proof.foreground,
            logits=answer.logits,
            labels=answer.labels,
            **arrays,
        )
