"""A headless Chromium, told what to do over a pipe (the DevTools protocol), with no driver between.

It is Debian's package `chromium`. It finds no other machine, and keeps nothing.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services import debian

INSTALL = "apt-get install chromium"
ABSENT = "no Chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ANSWER_SECONDS = 30.0
_ARGUMENTS = [
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars"),
    *("--force-color-profile=srgb", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
]
# The browser reads commands from descriptor 3 and answers on 4.
_PLACED = 'exec "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'

Message = dict[str, Any]


def find() -> str | None:
    """The program, if it is installed."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


def available() -> bool:
    """Whether there is a Chromium, after installing it where that may be done."""
    if find() is None and debian.can_install():
        debian.install("chromium", [])
    return find() is not None


class Chromium:
    """One browser process."""

    def __init__(self, folder: Path) -> None:
        program = find()
        assert program is not None, INSTALL
        folder.mkdir(parents=True, exist_ok=True)
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # as root there is none
        with (folder / "log").open("wb") as log:
            arguments = [*_ARGUMENTS, *sandbox, f"--user-data-dir={folder / 'profile'}"]
            self._process = subprocess.Popen(
                ["bash", "-c", _PLACED, "bash", program, *arguments, "about:blank"],
                env=os.environ | {"COMMANDS": str(commands), "ANSWERS": str(answers)},
                pass_fds=(commands, answers),
                stdout=log,
                stderr=log,
            )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._number = 0
        self._events: list[Message] = []

    def close(self) -> None:
        """End it."""
        os.close(self._commands)  # at the end of its commands it goes
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Message:
        """Have something done; its answer. Events that come meanwhile are kept."""
        number = self.send(method, session, **parameters)
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            answer = self._read(deadline)
            if answer is None:
                raise TimeoutError(f"Chromium does not answer {method}")
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                result: Message = answer["result"]
                return result
            self._events.append(answer)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Have something done, without waiting for it."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        return self._number

    def events(self, session: str, seconds: float) -> Iterator[Message]:
        """What a session tells, until it has told nothing new for a while."""
        deadline = time.monotonic() + seconds
        while True:
            for place, event in enumerate(self._events):
                if event.get("sessionId") == session and "method" in event:
                    yield self._events.pop(place)
                    break
            else:
                event_ = self._read(deadline)
                if event_ is None:
                    return
                self._events.append(event_)

    def _read(self, deadline: float) -> Message | None:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                return None
            data = os.read(self._answers, 1 << 20)
            assert data, "Chromium has ended"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: Message = json.loads(line)
        return message


@contextmanager
def running(folder: Path) -> Iterator[Chromium]:
    """A browser for a while."""
    browser = Chromium(folder)
    try:
        yield browser
    finally:
        browser.close()


class Page:
    """One tab: what it was told to show, what it asked for and what it complained about."""

    def __init__(
        self,
        browser: Chromium,
        *,
        width: int,
        height: int,
        dark: bool = False,
        phone: bool = False,
        password: str | None = None,
    ) -> None:
        """`password` is given where a server asks for one (HTTP Basic)."""
        self._browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)
        self._target = target["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)[
            "sessionId"
        ]
        self._password = password
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Fetch.enable", handleAuthRequests=True)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def call(self, method: str, **parameters: Any) -> Message:
        """Have something done in this tab."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, url: str) -> None:
        """Show a page, and wait until all of it is there."""
        self._loaded = False
        # It is answered when the page comes, and that may wait for what the events ask of us.
        self._browser.send("Page.navigate", self._session, url=url)
        self._settle(lambda: self._loaded)
        self._settle(lambda: False, 0.3)  # what comes after the page, its icon for one

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """All of it as PNG, also what lies below the window."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        answer = self.call(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1},
        )
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def _settle(self, done: Callable[[], bool], seconds: float = _ANSWER_SECONDS) -> None:
        for event in self._browser.events(self._session, seconds):
            self._note(event["method"], event["params"])
            if done():
                return

    def _note(self, method: str, told: Message) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.complaints.append(str(told["args"]))
            case "Log.entryAdded":
                self.complaints.append(told["entry"]["text"])
            case "Fetch.requestPaused":
                self.call("Fetch.continueRequest", requestId=told["requestId"])
            case "Fetch.authRequired":
                self._sign_in(told["requestId"])

    def _sign_in(self, request: str) -> None:
        if self._password is None:
            answer = {"response": "CancelAuth"}
        else:
            answer = {
                "response": "ProvideCredentials",
                "username": "anybody",
                "password": self._password,
            }
        self.call("Fetch.continueWithAuth", requestId=request, authChallengeResponse=answer)
