"""A headless Chromium, driven over a pipe: for tests that look at a page as a reader does."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-extensions", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL without a GPU
    "--remote-debugging-pipe",
)
_FIRST_FREE = 10  # file descriptors below it are not those of the pipes, which become 3 and 4
_PATIENCE_S = 240  # of a busy machine: WebGL is computed by the processor here


def program() -> str | None:
    """Where a Chromium is, or None."""
    return next((path for name in _PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """One page in a browser of its own. Speaks the DevTools protocol over file descriptors 3 and 4."""

    def __init__(self, profile: Path) -> None:
        path = program()
        assert path is not None
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, _FIRST_FREE) for end in (theirs_in, theirs_out)]
        self._process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]}',
                path,
                *_FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=theirs,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (*theirs, theirs_in, theirs_out):
            os.close(end)
        self._pending = b""
        self._number = 0
        self.troubles: list[str] = []  # errors and warnings of the console, exceptions, requests to a network
        target = self._call("Target.createTarget", session=False, url="about:blank")["targetId"]
        self._session = ""
        attached = self._call("Target.attachToTarget", session=False, targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def open(self, path: Path, fragment: str = "", size: tuple[int, int] = (1200, 900)) -> None:
        """Load a file and wait until it says that it is ready, or in trouble."""
        self.resize(size)
        self._call("Page.navigate", url=path.as_uri() + fragment)
        self.wait("document.body && (document.body.dataset.ready || !document.getElementById('trouble')?.hidden)")

    def resize(self, size: tuple[int, int]) -> None:
        """Give the window a width and a height, in pixels."""
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)

    def wait(self, condition: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not self.value(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {_PATIENCE_S} s: {condition}; {self.troubles}"
            time.sleep(0.1)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is; its promise is awaited."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of an element, once it has been scrolled to."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{place}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({place}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
            self._call("Input.dispatchMouseEvent", type=kind, **where)
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def screenshot(self, selector: str = "") -> bytes:
        """A PNG of the window, or of one element in it."""
        clip = {}
        if selector:
            place = f"document.querySelector({json.dumps(selector)})"
            self.value(f"{place}.scrollIntoView({{block: 'center'}})")
            x, y, width, height = self.value(
                f"(r => [r.x + scrollX, r.y + scrollY, r.width, r.height])({place}.getBoundingClientRect())"
            )
            clip = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": 1}}
        return base64.b64decode(self._call("Page.captureScreenshot", format="png", **clip)["data"])

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # its own group, of this test's own process
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _call(self, method: str, *, session: bool = True, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE_S)
            assert ready, f"the browser said nothing for {_PATIENCE_S} s"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has gone"
            self._pending += part
        line, self._pending = self._pending.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        method, its = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.troubles.append(str(its["exceptionDetails"].get("exception", its["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and its["type"] in ("error", "warning", "assert"):
            self.troubles.append(" ".join(str(it.get("value", it.get("description"))) for it in its["args"]))
        elif method == "Log.entryAdded" and its["entry"]["level"] in ("error", "warning"):
            self.troubles.append(its["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = its["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.troubles.append(f"asked the network for {url}")
