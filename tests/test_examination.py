"""One file in one limited process: whatever it does, it is told what became of it, and nothing else is harmed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from glassnet.checking.check import check_file
from glassnet.checking.examination import Limits, _what_became, examine

RIGHT = """
import numpy as np

def forward(parameters, X):
    z1 = X @ parameters["W1"] + parameters["b1"]
    a1 = np.maximum(z1, 0)
    p = 1 / (1 + np.exp(-(a1 @ parameters["W2"] + parameters["b2"])))
    return p, (z1, a1)

def backward(parameters, X, y):
    p, (z1, a1) = forward(parameters, X)
    delta2 = (p - y) / len(X)
    delta1 = (delta2 @ parameters["W2"].T) * (z1 > 0)
    return {"W1": X.T @ delta1, "b1": delta1.sum(axis=0), "W2": a1.T @ delta2, "b2": delta2.sum(axis=0)}
"""
WRONG = RIGHT.replace(" * (z1 > 0)", "")
POSIX = pytest.mark.skipif(os.name == "nt", reason="limits of memory and signals are POSIX's")


def examined(folder, text, *, name="gradients.py", seconds=20.0, **options):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    (found,) = examine([str(path)], limits=Limits(seconds), **options)
    return found


def processes_about(folder):
    """Numbers of the processes that were started with this folder in their command."""
    found = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as file:  # it may end meanwhile
            found += [process] if os.fsencode(str(folder)) in file.read() else []
    return found


@pytest.fixture
def outside(tmp_path):
    """A file of somebody else's, which must not change."""
    path = tmp_path / "marks-of-last-year.txt"
    path.write_text("all of them")
    yield path
    assert path.read_text() == "all of them"
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".py")] == [path.name]


@pytest.mark.parametrize("text", [RIGHT, WRONG, "x = 1", "def f(:", "raise ValueError('no')"])
def test_the_result_is_that_of_a_check_in_this_process(tmp_path, text):
    found = examined(tmp_path, text, seed=3)
    here = check_file(str(tmp_path / "gradients.py"), seed=3)
    assert found.report == json.loads(json.dumps(here.to_json("full")))
    assert (found.text, found.html) == (here.text("full"), here.html("full"))


@pytest.mark.parametrize(("text", "verdict"), [(RIGHT, "right"), (WRONG, "wrong"), ("x = 1", "error")])
def test_verdicts(tmp_path, text, verdict):
    assert examined(tmp_path, text).verdict == verdict


def test_a_hang_is_ended_and_its_line_is_named(tmp_path):
    begun = time.monotonic()
    found = examined(tmp_path, "x = 1\nwhile x:\n    pass", seconds=1.5)
    assert time.monotonic() - begun < 10
    assert found.verdict == "error"
    assert found.report["problem"]["kind"] == "hangs"
    assert found.report["problem"]["line"] in (2, 3)
    assert "within 1.5 seconds" in found.text
    assert "while x" in found.text or "pass" in found.text


def test_a_hang_that_stops_the_watch_is_ended_too(tmp_path, monkeypatch):
    monkeypatch.setattr("glassnet.checking.examination._PATIENCE", 2.0)
    found = examined(
        tmp_path, "import faulthandler, time\nfaulthandler.cancel_dump_traceback_later()\ntime.sleep(100)", seconds=1.0
    )
    assert found.report["problem"]["kind"] == "hangs"
    assert found.seconds < 10


def test_a_hang_in_a_strangely_named_file(tmp_path):
    found = examined(tmp_path, "while True: pass", name="ä\n<b>𝒙=1.py", seconds=1.5)
    assert found.report["problem"]["line"] == 1


@POSIX
def test_a_crash_is_told_with_its_line(tmp_path):
    found = examined(tmp_path, "import ctypes\n\nctypes.string_at(0)")
    assert found.report["problem"]["kind"] == "crashes"
    assert found.report["problem"]["line"] == 3
    assert "SIGSEGV" in found.text


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep this limit")
def test_memory_is_limited(tmp_path):
    (tmp_path / "a.py").write_text("import numpy as np\nkept = [np.ones(2**22) for _ in range(1000)]")
    (found,) = examine([str(tmp_path / "a.py")], limits=Limits(20, 512))
    assert found.verdict == "error"
    assert "MemoryError" in found.text


@pytest.mark.parametrize("how", ["print('a' * 10**6)", "os.write(1, b'a' * 10**6)", "os.write(2, b'a' * 10**6)"])
def test_megabytes_of_output_disturb_nobody(tmp_path, how):
    found = examined(tmp_path, f"{RIGHT}\nimport os\nfor _ in range(30): {how}")
    assert found.verdict == "right"
    assert "aaa" not in found.text + found.html + json.dumps(found.to_json())
    assert len(found.html) < 100_000


def test_a_failure_of_the_check_itself_is_said(tmp_path):
    found = examined(tmp_path, "import glassnet.checking.report as r\ndel r.Report.to_json")
    assert found.verdict == "error"
    assert "The check itself failed: AttributeError" in found.text


@pytest.mark.parametrize(
    "text",
    [
        "open({path!r}, 'w')",
        "open({path!r}, 'r+')",
        "import os; os.open({path!r}, os.O_WRONLY)",
        "import os; os.remove({path!r})",
        "import os; os.rename({path!r}, 'mine')",
        "import os; open('mine', 'w').close(); os.replace('mine', {path!r})",
        "import os; os.symlink({path!r}, 'mine'); open('mine', 'a')",
        "import os; os.link({path!r}, 'mine')",
        "import os; os.truncate({path!r}, 0)",
        "import os; os.mkdir({path!r} + '.d')",
        "import os; os.symlink('/', {path!r} + '.link')",
        "import shutil, os; shutil.rmtree(os.path.dirname({path!r}))",
        "import pathlib; pathlib.Path({path!r}).write_text('x')",
        "import sqlite3; sqlite3.connect({path!r} + '.db')",
        "import numpy as np; np.save({path!r} + '.npy', np.ones(2))",
        "import os; open(os.path.join('..', 'escaped'), 'w')",
    ],
)
def test_nothing_is_written_outside(tmp_path, outside, text):
    found = examined(tmp_path, RIGHT + text.format(path=str(outside)))
    assert found.verdict == "error"
    assert "PermissionError" in found.text
    assert "working folder" in found.text


def test_a_scratch_folder_may_be_written_and_everything_read(tmp_path, outside):
    text = f"""{RIGHT}
import os, pathlib, tempfile
assert open({str(outside)!r}).read()
pathlib.Path("here").write_text("x")
pathlib.Path.home().joinpath("home").write_text("x")
with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, "there").write_text("x")
os.rename("here", "gone")
os.remove("gone")
open(os.devnull, "w").write("x")
assert "glassnet-check-" in os.getcwd()
"""
    found = examined(tmp_path, text)
    assert found.verdict == "right", found.text


@pytest.mark.parametrize(
    "text",
    [
        "import socket; socket.socket()",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import urllib.request as u; u.urlopen('http://127.0.0.1:9/')",
    ],
)
def test_the_network_is_refused(tmp_path, text):
    found = examined(tmp_path, RIGHT + text)
    assert found.verdict == "error"
    assert "network" in found.text


@POSIX
@pytest.mark.parametrize(
    "text",
    [
        "import os\nfor _ in range(3): os.fork()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import os, signal; os.kill(os.getppid(), signal.SIGCONT)",
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))",
    ],
)
def test_processes_are_refused(tmp_path, text):
    found = examined(tmp_path, RIGHT + text)
    assert found.verdict == "error"
    assert "processes" in found.text


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_is_started_behind_pythons_back_is_ended_with_the_process(tmp_path):
    text = "import ctypes, time\nif not ctypes.CDLL(None).fork(): time.sleep(60.625)\n" + RIGHT
    examined(tmp_path, text)
    assert processes_about(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "print = None",
        "import sys; sys.stdout = sys.stderr = None",
        "import sys; sys.stdout.close()",
        "import os; os.close(1)",
        "import builtins; builtins.print = lambda *given: 1 / 0",
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "import atexit, time; atexit.register(time.sleep, 60)",
        "import warnings; warnings.simplefilter('error')",
        "import os; os.chdir('/')",
    ],
)
def test_what_does_not_disturb_the_check(tmp_path, text):
    assert examined(tmp_path, f"{RIGHT}\n{text}", seconds=15).verdict == "right"


@pytest.mark.parametrize("text", ["exit()", "import sys; sys.exit(0)", "import os; os._exit(0)", "input()"])
def test_a_file_that_ends_or_waits_is_an_error(tmp_path, text):
    found = examined(tmp_path, f"{text}\n{RIGHT}", seconds=15)
    assert found.verdict == "error"
    assert found.report["problem"]["message"]


def test_secrets_of_the_environment_are_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "secret")
    assert examined(tmp_path, f"{RIGHT}\nimport os; raise ValueError(sorted(os.environ))").text.count("HOME") > 0
    found = examined(tmp_path, f"{RIGHT}\nimport os; assert 'A_TOKEN' not in os.environ and os.environ['HOME']")
    assert found.verdict == "right"


def test_the_hint_keeps_back_what_it_should(tmp_path):
    mistake = examined(tmp_path, WRONG).report["mistakes"][0]["name"]
    for hint in ("none", "where"):
        found = examined(tmp_path, WRONG, hint=hint)
        assert found.verdict == "wrong"
        for told in (found.text, found.html, json.dumps(found.report)):
            assert mistake not in told


def test_known_fonts_are_lent(tmp_path, monkeypatch):
    (tmp_path / ".cache" / "matplotlib").mkdir(parents=True)
    (tmp_path / ".cache" / "matplotlib" / "fontlist-v1.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    text = f"{RIGHT}\nimport os; assert os.listdir(os.environ['MPLCONFIGDIR']) == ['fontlist-v1.json']"
    assert examined(tmp_path, text).verdict == "right"


def test_a_file_is_called_as_is_asked(tmp_path):
    paths = [tmp_path / "a.py", tmp_path / "b.py", tmp_path / "c.py"]
    for path, text in zip(paths, [RIGHT, "1/0", "import os; os._exit(0)"], strict=True):
        path.write_text(text)
    names = ["anna/<a>.py", "ben/a.py", "cem/a.py"]
    for name, result in zip(names, examine([str(path) for path in paths], names=names), strict=True):
        assert result.report["title"].startswith(name)
        assert result.text.startswith(name)
        assert "<a>" not in result.html


def test_a_check_that_takes_too_long_does_not_blame_the_file():
    said = "The check did not come to an end within 20 seconds. --timeout gives it more."
    assert _what_became(1, True, "", Limits(), "") == said
    assert "A loop" in _what_became(1, True, "", Limits(), " It stood at line 3.")


def test_several_at_once_in_their_order(tmp_path):
    paths = []
    for number, text in enumerate([RIGHT, "import time; time.sleep(1)\n" + WRONG, "1/0", RIGHT]):
        paths.append(str(tmp_path / f"{number}.py"))
        (tmp_path / f"{number}.py").write_text(text)
    heard = []
    found = examine(paths, progress=heard.append)
    assert [result.path for result in found] == paths
    assert [result.verdict for result in found] == ["right", "wrong", "error", "right"]
    assert heard == [1, 2, 3, 4]


@POSIX
def test_an_interrupt_ends_every_process(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.py").write_text("import time; time.sleep(60)")
    command = [sys.executable, "-m", "glassnet", "check", str(tmp_path), "-o", str(tmp_path / "marks.csv")]
    check = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    time.sleep(3)
    check.send_signal(signal.SIGINT)
    assert "interrupted" in check.communicate(timeout=15)[1]
    assert check.returncode == 130
    assert not (tmp_path / "marks.csv").exists()
    if sys.platform == "linux":
        assert processes_about(tmp_path) == []


def test_what_is_no_file_is_told(tmp_path):
    (tmp_path / "nowhere.py").symlink_to(tmp_path / "missing")
    (tmp_path / "folder.py").mkdir()
    for result in examine([str(tmp_path / "nowhere.py"), str(tmp_path / "folder.py")]):
        assert result.verdict == "error"
        assert "no file" in result.text
