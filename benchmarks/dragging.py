"""How long from a slider's move to the paint of what was trained for it? Measured in Chromium, as a user sees it.

`glassnet play` is started, its page is opened in headless Chromium, and the learning rate's slider is dragged to and
fro with the mouse, 60 moves a second: tumor data, 2-2-1, 100 starts of 100 epochs. Moves are sent when they are due,
whether the page keeps up or not. For every move: the time from the pointer event that Chromium made, also of one that
it handed to the page together with later ones, to the end of the frame in which what is trained for this position, or
for a later one, is painted: its scripts have run, styles and layout are done, its canvases are drawn. That the
compositor then puts it on a screen is not in it. Painted is a position with the start that is looked at, its boundary,
its curve, and some of the other starts: how many is printed, and how long it takes until all of them are, which in a
drag without a rest is when it ends. Below the latencies stands where the time goes: from the newest move until the page
has sent it, the answer is there, it is drawn, the frame's scripts have run, the frame is painted. Where several moves
wait they are answered by the newest; none is left out of the figures. Memory, of the page's heap after a collection and
of the server, is taken before, during and after.

python benchmarks/dragging.py                  # 20 seconds
python benchmarks/dragging.py --seconds 600    # ten minutes

Needs a Chromium: on Debian apt-get install -y --no-install-recommends chromium. It is told what to do over its own
protocol: a test's driver would have every frame of the socket sent to it, which takes as long as the page's own work.
Ends with status 1 where the last position is not the one that is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

RATE = 60  # moves a second
SLIDER = "document.getElementById('handle-learning_rate')"

# In the page: the times of the pointer events behind each input, the request it led to, and when that was painted. And
# of each request when it was sent, when its first answer came and was drawn, when the frame's scripts and the frame
# ended.
WATCH = """
window.moves = []; // [request, time]: not painted yet
window.partly = []; // the same: not all of their starts are painted yet
window.latencies = [];
window.starts = []; // how many were in that paint
window.wholes = []; // latencies of the paints that have all starts
window.stages = []; // of each request that was painted: milliseconds
const times = new Map();
let pointed = [];
let raw = 0;
addEventListener("pointerrawupdate", (event) => { raw = event.timeStamp; }, true);
addEventListener("pointermove", (event) => {
  pointed = [...event.getCoalescedEvents(), event].map((one) => one.timeStamp);
  if (pointed.length > 1) pointed.pop(); // the last of several is the event itself
}, true);
addEventListener("input", (event) => {
  if (event.target.id !== "handle-learning_rate") return;
  const asked = Number(document.documentElement.dataset.asked);
  for (const at of pointed) for (const list of [window.moves, window.partly]) list.push([asked, at]);
});
const { send } = WebSocket.prototype;
WebSocket.prototype.send = function (text) {
  send.call(this, text);
  times.set(parseInt(text.slice(6), 10), [raw, performance.now()]);
};
const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, "onmessage");
Object.defineProperty(WebSocket.prototype, "onmessage", {
  set(handler) {
    set.call(this, (event) => {
      const came = performance.now();
      const number = /^{"id": (\\d+)/.exec(new TextDecoder().decode(new Uint8Array(event.data, 4, 30)))?.[1];
      handler(event);
      const of = times.get(Number(number));
      if (of?.length === 2) of.push(came, performance.now());
    });
  },
});
const after = new MessageChannel();
let [shown, framed] = [0, 0];
after.port1.onmessage = () => {
  const now = performance.now();
  const [done, size] = document.documentElement.dataset.starts.split(" of ");
  while (window.moves.length && window.moves[0][0] <= shown) {
    window.latencies.push(now - window.moves.shift()[1]);
    window.starts.push(Number(done));
  }
  while (done === size && window.partly[0]?.[0] <= shown) window.wholes.push(now - window.partly.shift()[1]);
  const of = times.get(shown);
  if (of?.length === 4) window.stages.push([...of, framed, now].map((at, n, all) => at - (all[n - 1] ?? 0)).slice(1));
  for (const number of times.keys()) if (number <= shown) times.delete(number);
};
addEventListener("DOMContentLoaded", () => {
  // It runs when the frame's callbacks have drawn; the message is delivered when the frame is painted.
  new MutationObserver(() => {
    framed = performance.now();
    shown = Number(document.documentElement.dataset.shown);
    after.port2.postMessage(0);
  }).observe(document.documentElement, { attributeFilter: ["data-shown"] });
});
"""
STAGES = ("sent", "answered", "drawn", "frame begun", "frame done")


class Chromium:
    """A page in headless Chromium, told what to do over the DevTools protocol."""

    def __init__(self, program: str, folder: str, width: int = 1280, height: int = 900) -> None:
        options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run",
                   f"--window-size={width},{height}", "--disable-background-networking", "--disable-extensions",
                   "--disable-component-update", "--mute-audio"]  # fmt: skip
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")
        self.process = subprocess.Popen([program, *options, "about:blank"], stderr=subprocess.DEVNULL)
        told = Path(folder) / "DevToolsActivePort"
        deadline = time.monotonic() + 30
        while not (told.exists() and "\n" in told.read_text()):
            if time.monotonic() > deadline:
                raise RuntimeError("Chromium did not start within 30 s")
            time.sleep(0.02)
        self.origin = f"http://127.0.0.1:{told.read_text().split()[0]}"
        with urllib.request.urlopen(f"{self.origin}/json/version") as answer:
            self.version = json.load(answer)["Browser"].partition("/")[2]
        with urllib.request.urlopen(f"{self.origin}/json/list") as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self._kept = contextlib.ExitStack()
        given = {"max_size": None, "max_queue": None, "compression": None}
        self._socket = self._kept.enter_context(connect(page["webSocketDebuggerUrl"], **given))
        self._number = 0
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)

    def tell(self, method: str, **parameters: Any) -> int:
        """Send a command, and wait for nothing."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        return self._number

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        number = self.tell(method, **parameters)
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                found: dict[str, Any] = message["result"]
                return found

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", script))
        return found["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, pressed: bool) -> None:
        """Move, press or release the mouse."""
        button = "left" if pressed or kind != "mouseMoved" else "none"
        clicks = 0 if kind == "mouseMoved" else 1
        self.tell(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=int(pressed), clickCount=clicks
        )

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(Exception):
            self.ask("Browser.close")
        self._kept.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def opened(program: str, address: str) -> Iterator[Chromium]:
    """Chromium with the page at an address, which has come to rest."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Chromium(program, folder)
        try:
            page.ask("Page.enable")
            page.ask("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            page.ask("Page.navigate", url=address)
            rest(page)
            yield page
        finally:
            page.close()


@contextlib.contextmanager
def served() -> Iterator[tuple[str, int]]:
    """`glassnet play` in a process of its own: the page's address, and the process's number."""
    command = [sys.executable, "-m", "glassnet", "play", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip(), server.pid
    finally:
        server.terminate()
        server.wait()


def resident(pid: int) -> float:
    """MiB of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def heap(page: Chromium) -> float:
    """MiB of the page's JavaScript heap, after a collection."""
    page.ask("HeapProfiler.collectGarbage")
    return float(page.ask("Runtime.getHeapUsage")["usedSize"]) / 2**20


def rest(page: Chromium) -> None:
    """Wait until the page shows what was asked last."""
    while True:
        data = page.evaluate("document.documentElement ? {...document.documentElement.dataset} : {}")
        if data.get("rested") is not None and data["rested"] == data["asked"]:
            return
        time.sleep(0.02)


def drag(page: Chromium, seconds: float) -> int:
    """Drag the slider to and fro; returns how many moves were left out, for this program came too late for them."""
    box = page.evaluate(f"{SLIDER}.getBoundingClientRect().toJSON()")
    y, left, right = box["y"] + box["height"] / 2, box["x"] + box["width"] * 0.3, box["x"] + box["width"] * 0.95
    page.mouse("mouseMoved", left, y, False)
    page.mouse("mousePressed", left, y, True)
    begun, n, left_out, x = time.perf_counter(), 0, 0, left
    while n < seconds * RATE:
        time.sleep(max(0.0, begun + n / RATE - time.perf_counter()))
        part = n / RATE / 4 % 2  # four seconds for each way
        x = left + (right - left) * (part if part < 1 else 2 - part)
        page.mouse("mouseMoved", x, y, True)
        following = max(n + 1, int((time.perf_counter() - begun) * RATE))
        left_out += following - n - 1
        n = following
    page.mouse("mouseReleased", x, y, False)
    return left_out


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(ordered: list[float]) -> str:
    shares = (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("worst", 1.0))
    return ", ".join(f"{name} {percentile(ordered, share):.1f}" for name, share in shares) + " ms"


def measured(page: Chromium, server: int, seconds: float) -> dict[str, Any]:
    """Latencies in ms, and memory as it went."""
    drag(page, 3)  # what is compiled or fetched once is, now
    rest(page)
    page.evaluate("for (const list of [latencies, starts, wholes, stages]) list.length = 0")
    memory = [(heap(page), resident(server))]
    found: dict[str, list[Any]] = {"latencies": [], "starts": [], "wholes": [], "stages": []}
    late = 0
    pieces = max(1, round(seconds / 60))
    for _ in range(pieces):
        late += drag(page, seconds / pieces)
        rest(page)
        for name, values in found.items():
            values += page.evaluate(f"window.{name}.splice(0)")
        memory.append((heap(page), resident(server)))
    slider = page.evaluate(f"{SLIDER}.getAttribute('aria-valuetext')")
    told = page.evaluate("document.querySelector('[aria-label=\"Learning rate, as a number\"]').value")
    data = page.evaluate("({...document.documentElement.dataset})")
    return {
        "latencies": sorted(found["latencies"]),
        "starts": sorted(found["starts"]),
        "wholes": sorted(found["wholes"]),
        "at_rest": found["wholes"][-1],
        "stages": [sorted(of) for of in zip(*found["stages"], strict=True)],
        "memory": memory,
        "late": late,
        "unanswered": page.evaluate("window.moves.length"),
        "last": data["shown"] == data["asked"] and slider == told,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="how long the slider is dragged")
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("not measured, for there is no Chromium: on Debian, apt-get install -y --no-install-recommends chromium")
        return 0
    with (
        served() as (address, server),
        opened(chromium, f"{address}#starts={arguments.starts}&epochs={arguments.epochs}") as page,
    ):
        first_paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        found = measured(page, server, arguments.seconds)
        version = page.version
    latencies, memory = found["latencies"], found["memory"]
    job = f"2-2-1, tumor data, {arguments.starts} starts x {arguments.epochs} epochs"
    print(f"Chromium {version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{job}, {RATE} moves a second for {arguments.seconds:g} s")
    print(f"first paint {first_paint:.0f} ms after the address was opened")
    print(f"moves      {len(latencies)} painted, {found['unanswered']} not; {found['late']} more were due")
    print(f"latency    {spread(latencies)}: the start that is looked at and some others are painted")
    least, median, most = (percentile(found["starts"], share) for share in (0.0, 0.5, 1.0))
    share = 100 * found["starts"].count(arguments.starts) / len(latencies)
    print(f"starts     {least} to {most} in that paint, median {median}; all of them in {share:.1f} %")
    print(f"all starts {found['at_rest']:.1f} ms after the last move; every move: {spread(found['wholes'])}")
    for name, values in zip(STAGES, found["stages"], strict=True):
        print(f"  {name:<16} {spread(values)}")
    for name, of in (("page", 0), ("server", 1)):
        print(f"{name:<10} " + " ".join(f"{at[of]:.1f}" for at in memory) + " MiB")
    print("the last position is the one shown" if found["last"] else "THE LAST POSITION IS NOT SHOWN")
    return 0 if found["last"] and not found["unanswered"] else 1


if __name__ == "__main__":
    sys.exit(main())
