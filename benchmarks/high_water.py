"""What a piece of a benchmark takes of this process's memory, by the kernel's own high-water mark."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Self

from ssa_fast.hardware import give_heap_back
from ssa_fast.measure import peak_memory_bytes, resident_bytes

__all__ = ["HighWater"]

_CLEAR = Path("/proc/self/clear_refs")
_SET_BACK = "5"  # the high-water mark, to what is resident now: proc(5)


class HighWater:
    """`with HighWater() as water: ...`, then `water.added_bytes`: what was resident at most, beyond what was before.

    None where the mark cannot be set back, that is, elsewhere than on Linux.
    """

    added_bytes: int | None = None

    def __enter__(self) -> Self:
        gc.collect()
        give_heap_back()  # what is kept of it would else not be counted when it is used again
        try:
            _CLEAR.write_text(_SET_BACK)
        except OSError:
            self._before = None
        else:
            self._before = resident_bytes()
        return self

    def __exit__(self, *raised: Any) -> None:
        if self._before is not None:
            self.added_bytes = max(0, peak_memory_bytes() - self._before)
