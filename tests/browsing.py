"""A page in Chromium for tests: the command served, the browser found, and what a user does on the page."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHROMIUM_IS_MISSING = (
    "Chromium is missing: the page was not tested. On Debian: apt-get install -y --no-install-recommends chromium"
)


def chromium() -> str | None:
    """The path of a Chromium."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Play:
    """`glassnet play` in a process of its own."""

    def __init__(self, *arguments: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "glassnet", "play", *arguments, "--no-browser", "--port", str(port)]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.child.stdout is not None
        self.address = self.child.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=.*", self.address)
        assert found, self.address or self.child.communicate()[1]
        self.port = int(found[1])
        self.origin = self.address.partition("/?")[0]

    def stop(self) -> str:
        """End it at once; returns what it said on stderr."""
        self.child.kill()
        return self.child.communicate()[1]


class Visit:
    """A page that is being visited, and everything that went wrong on it."""

    def __init__(self, context: Any, play: Play, state: str = "") -> None:
        self.play = play
        self.page = context.new_page()
        self.wrong: list[str] = []
        self.outside: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda asked: self._asked(asked.url))
        self.page.on("websocket", lambda socket: self._asked(socket.url))
        self.page.goto(play.address + state)
        self.rest()

    def _asked(self, url: str) -> None:
        if not url.startswith((self.play.origin + "/", self.play.origin.replace("http", "ws") + "/")):
            self.outside.append(url)

    def data(self) -> dict[str, str]:
        """What the page says of itself."""
        return dict(self.page.evaluate("({...document.documentElement.dataset})"))

    def until(self, done: Any, seconds: float = 60) -> Any:
        """What `done` returns as soon as that is something. Pages cannot be polled by text: their policy forbids it."""
        deadline = time.monotonic() + seconds
        while not (found := done()):
            assert time.monotonic() < deadline, (self.data(), self.wrong)
            time.sleep(0.02)
        return found

    def rest(self) -> None:
        """Wait until what was asked last is what is shown."""
        self.until(lambda: (data := self.data()).get("rested") is not None and data["rested"] == data["asked"])

    def turn_to(self, url: str) -> None:
        """Go to another address of the same page and wait for what it asks: the page hears of it later than we do."""
        before = self.data()["asked"]
        self.page.goto(url)
        self.until(lambda: self.data()["asked"] != before)
        self.rest()

    @property
    def url(self) -> str:
        """The address as it is now: what Playwright remembers of it comes later."""
        return str(self.page.evaluate("location.href"))

    @property
    def weights(self) -> list[str]:
        """The numbers that are printed on the network."""
        return list(self.page.locator("#network svg .number").all_text_contents())

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.page.locator(selector).inner_text())

    def move(self, handle: str, part: float) -> None:
        """Drag a slider to a part of its way, in steps."""
        box = self.page.locator(f"#handle-{handle}").bounding_box()
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] / 2, y)
        self.page.mouse.down()
        for step in range(1, 9):
            self.page.mouse.move(box["x"] + box["width"] * (0.5 + (part - 0.5) * step / 8), y)
        self.page.mouse.up()


def launched(playwright: Any) -> Any:
    """Chromium; as root it runs without its sandbox, as it has to."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"] if root else [])


def iris_like(path: Path) -> Path:
    """A table of three classes, a number and a text, written to a file."""
    rows = ["length,width,soil,height,kind"]
    for n in range(120):
        k = n % 3
        rows.append(f"{1 + n % 17 / 8 + k},{0.4 + n % 13 / 9 + k / 2},{['clay', 'sand', 'loam'][n % 4 % 3]},"
                    f"{3 * k + n % 7},{('aster', 'broom', 'clover')[k]}")  # fmt: skip
    path.write_text("\n".join(rows) + "\n")
    return path
