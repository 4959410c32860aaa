"""A process of ours that answers each line of JSON with another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child"]

_ROOT = Path(__file__).resolve().parents[1]


class Child:
    """Begun by `start`, ended by `close`. While it waits it sleeps in a read, which costs no processor time."""

    def __init__(self, name: str, log: Path) -> None:
        """`name` is what errors call it; what it says on stderr goes to the file `log`."""
        self._name, self._log = name, log
        self._process: subprocess.Popen[str] | None = None
        self.seconds_to_start = 0.0  # until its first answer

    def start(
        self, module: str, job: Mapping[str, Any], threads: int, environment: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Its first answer. `job` is the argument of `python -m module`, which has its own way of waiting for threads.

        Raises RuntimeError, with the last that it said, if it ends before.
        """
        kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
        start = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                env=kept | {"OMP_NUM_THREADS": str(threads)} | dict(environment or {}),
                cwd=_ROOT,
            )
        try:
            answer = self._heard()
        except RuntimeError:
            self.close()
            raise
        self.seconds_to_start = time.perf_counter() - start
        return answer

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer. Raises RuntimeError, with the last that it said, if it has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        return self._heard()

    def close(self) -> None:
        """Its input ends, and with it the process, after what it is at."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _heard(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"{self._name} ended: {''.join(last)} (all it said: {self._log})")
        answer: dict[str, Any] = json.loads(line)
        return answer
