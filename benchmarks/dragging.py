"""How long from a slider's move to the paint of what was trained for it? Measured in Chromium, as a user sees it.

`glassnet play` is started, its page is opened in headless Chromium, and the learning rate's slider is dragged to and
fro with the mouse, 60 moves a second: tumor data, 2-2-1, 100 starts of 100 epochs. For every move: the time from the
pointer event that Chromium made to the end of the frame in which what is trained for this position, or for a later
one, is painted. On a slow machine some of the starts may be painted first; how often all are is printed. Where several
moves wait they are answered by the newest; none is left out of the figures. Memory, of the page's heap after a
collection and of the server, is taken before, during and after.

python benchmarks/dragging.py                  # 20 seconds
python benchmarks/dragging.py --seconds 600    # ten minutes

Needs Playwright and a Chromium: on Debian apt-get install -y --no-install-recommends chromium.
Ends with status 1 where the last position is not the one that is shown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page, sync_playwright

RATE = 60  # moves a second

# In the page: the time of the pointer event behind each input, the request it led to, and when that was painted.
WATCH = """
window.moves = [];
window.latencies = [];
window.wholes = 0; // moves whose first paint had every start in it
let pointed = 0;
addEventListener("pointermove", (event) => { pointed = event.timeStamp; }, true);
addEventListener("input", (event) => {
  if (event.target.id !== "handle-learning_rate") return;
  window.moves.push([Number(document.documentElement.dataset.asked), pointed]);
});
const after = new MessageChannel();
let shown = 0;
after.port1.onmessage = () => {
  const now = performance.now();
  const [done, size] = document.documentElement.dataset.starts.split(" of ");
  while (window.moves.length && window.moves[0][0] <= shown) {
    window.latencies.push(now - window.moves.shift()[1]);
    window.wholes += done === size;
  }
};
addEventListener("DOMContentLoaded", () => {
  // It runs when the frame's callbacks have drawn; the message is delivered when the frame is painted.
  new MutationObserver(() => {
    shown = Number(document.documentElement.dataset.shown);
    after.port2.postMessage(0);
  }).observe(document.documentElement, { attributeFilter: ["data-shown"] });
});
"""


def resident(pid: int) -> float:
    """MiB of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def heap(devtools: CDPSession) -> float:
    """MiB of the page's JavaScript heap, after a collection."""
    devtools.send("HeapProfiler.collectGarbage")
    metrics = {metric["name"]: metric["value"] for metric in devtools.send("Performance.getMetrics")["metrics"]}
    return float(metrics["JSHeapUsedSize"]) / 2**20


def rest(page: Page) -> None:
    """Wait until the page shows what was asked last."""
    while True:
        data = page.evaluate("({...document.documentElement.dataset})")
        if data.get("rested") is not None and data["rested"] == data["asked"]:
            return
        time.sleep(0.02)


def drag(page: Page, seconds: float) -> int:
    """Drag the slider to and fro; returns how many moves were left out, for this program came too late for them."""
    box = page.locator("#handle-learning_rate").bounding_box()
    assert box is not None
    y, left, right = box["y"] + box["height"] / 2, box["x"] + box["width"] * 0.3, box["x"] + box["width"] * 0.95
    page.mouse.move(left, y)
    page.mouse.down()
    begun, n, left_out = time.perf_counter(), 0, 0
    while n < seconds * RATE:
        time.sleep(max(0.0, begun + n / RATE - time.perf_counter()))
        part = n / RATE / 4 % 2  # four seconds for each way
        page.mouse.move(left + (right - left) * (part if part < 1 else 2 - part), y)
        following = max(n + 1, int((time.perf_counter() - begun) * RATE))
        left_out += following - n - 1
        n = following
    page.mouse.up()
    return left_out


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def measured(page: Page, server: int, seconds: float) -> dict[str, Any]:
    """Latencies in ms, and memory as it went."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")
    drag(page, 3)  # what is compiled or fetched once is, now
    rest(page)
    page.evaluate("window.latencies.length = window.wholes = 0")
    memory = [(heap(devtools), resident(server))]
    latencies: list[float] = []
    late = 0
    pieces = max(1, round(seconds / 60))
    for _ in range(pieces):
        late += drag(page, seconds / pieces)
        rest(page)
        latencies += page.evaluate("window.latencies.splice(0)")
        memory.append((heap(devtools), resident(server)))
    slider = page.evaluate("document.getElementById('handle-learning_rate').getAttribute('aria-valuetext')")
    told = page.evaluate("document.querySelector('[aria-label=\"Learning rate, as a number\"]').value")
    data = page.evaluate("({...document.documentElement.dataset})")
    return {
        "latencies": sorted(latencies),
        "memory": memory,
        "late": late,
        "wholes": page.evaluate("window.wholes"),
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
    command = [sys.executable, "-m", "glassnet", "play", "--no-browser"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        with sync_playwright() as playwright:
            options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
            browser = playwright.chromium.launch(executable_path=chromium, args=options)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(WATCH)
            page.goto(f"{address}#starts={arguments.starts}&epochs={arguments.epochs}")
            rest(page)
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            first_paint = page.evaluate(paint)
            found = measured(page, server.pid, arguments.seconds)
            version = browser.version
            browser.close()
    finally:
        server.terminate()
        server.wait()
    latencies, memory = found["latencies"], found["memory"]
    job = f"2-2-1, tumor data, {arguments.starts} starts x {arguments.epochs} epochs"
    print(f"Chromium {version}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{job}, {RATE} moves a second for {arguments.seconds:g} s")
    print(f"first paint {first_paint:.0f} ms after the address was opened")
    print(f"moves      {len(latencies)} painted, {found['unanswered']} not; {found['late']} more were due")
    print(f"starts     all of them in the first paint of {100 * found['wholes'] / len(latencies):.1f} % of moves")
    print("latency    " + ", ".join(f"{name} {percentile(latencies, share):.1f} ms" for name, share in
                                    (("median", 0.5), ("p95", 0.95), ("p99", 0.99), ("worst", 1.0))))  # fmt: skip
    for name, of in (("page", 0), ("server", 1)):
        print(f"{name:<10} " + " ".join(f"{at[of]:.1f}" for at in memory) + " MiB")
    print("the last position is the one shown" if found["last"] else "THE LAST POSITION IS NOT SHOWN")
    return 0 if found["last"] and not found["unanswered"] else 1


if __name__ == "__main__":
    sys.exit(main())
