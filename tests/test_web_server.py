"""The page's server against hostile clients: every case on every route and on the socket, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.test_web_service import unpacked
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from glassnet.errors import UsageError
from glassnet.tables import Table
from glassnet.web import job, server, service
from glassnet.web.ground import Source

CSV = b"dose,ill\n" + b"".join(b"%d.5,%s\n" % (n, b"yes" if n > 20 else b"no") for n in range(40))
ROUTES = (("GET", "/"), ("GET", "/static/main.js"), ("GET", "/static/none.js"), ("POST", "/table"), ("GET", "/socket"))


def small_source() -> Source:
    rows = range(40)
    columns = {"dose": [n + 0.5 for n in rows], "age": [float(n * 7 % 40) for n in rows]}
    table = Table.from_columns({**columns, "ill": ["yes" if n % 40 > 20 else "no" for n in rows]})
    return Source(table, "a test", "ill")


class Served:
    """A server in a thread, and clients that say to it whatever they like."""

    def __init__(self) -> None:
        self.listener = server.listening(0)
        self.door = server.Door(self.listener.getsockname()[1])
        self.uvicorn = server.server(service.Service(small_source()), self.listener, self.door)
        self.thread = threading.Thread(target=self.uvicorn.run, kwargs={"sockets": [self.listener]}, daemon=True)
        self.thread.start()

    @property
    def headers(self) -> dict[str, str]:
        return {"Host": self.door.host, "Cookie": f"{self.door.cookie}={self.door.token}", "Origin": self.door.origin}

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=20)) as line:
            line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                line.putheader(name, value)
            if body is not None:
                line.putheader("Content-Length", str(len(body)))
            line.endheaders(body)
            answer = line.getresponse()
            answer.content = answer.read()  # type: ignore[attr-defined]
            return answer

    def raw(self, content: bytes, *, wait: float = 20) -> bytes:
        with socket.create_connection(("127.0.0.1", self.door.port), timeout=wait) as line:
            line.sendall(content)
            return everything(line)

    def head(self, first: str, headers: dict[str, str]) -> bytes:
        lines = [first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()

    @contextlib.contextmanager
    def socket(self, **headers: str) -> Iterator[Any]:
        given = {**self.headers, **headers}
        del given["Host"]
        origin = given.pop("Origin")
        address = f"ws://{self.door.host}/socket"
        with connect(address, additional_headers=given, origin=origin, max_size=None, compression=None) as line:
            assert "handles" in unpacked(line.recv())
            yield line

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(10)
        assert not self.thread.is_alive()


def everything(line: socket.socket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := line.recv(65536):
            got += part
    return got


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.stop()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of a test's own, with less patience and less room."""
    monkeypatch.setattr(server, "SLOWEST", 0.5)
    monkeypatch.setattr(server, "MOST_BYTES", 100_000)
    monkeypatch.setattr(service, "MOST_ROWS", 1000)
    one = Served()
    yield one
    one.stop()


def ask(line: Any, number: int, settings: Any = None, view: Any = None) -> list[dict[str, Any]]:
    """All messages that answer a request."""
    line.send(json.dumps({"id": number, "settings": settings or {"epochs": 5, "starts": 3}, "view": view or {}}))
    return answers(line)


def answers(line: Any) -> list[dict[str, Any]]:
    got = [unpacked(line.recv(timeout=60))]
    while not got[-1]["last"]:
        got.append(unpacked(line.recv(timeout=60)))
    return got


# --- who is let in ------------------------------------------------------------------------------------------------


def test_the_token_is_exchanged_for_a_cookie_that_only_the_browser_sees(served):
    answer = served.request("GET", f"/?token={served.door.token}", {"Host": served.door.host})
    assert answer.status == 200
    assert b"<title>glassnet play</title>" in answer.content
    cookie = answer.getheader("Set-Cookie")
    assert cookie.startswith(f"{served.door.cookie}={served.door.token};")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert served.request("GET", "/", {"Host": served.door.host, "Cookie": cookie.split(";")[0]}).status == 200


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


STRANGERS = {
    "no cookie": lambda ours: without(ours, "Cookie"),
    "another token": lambda ours: {**ours, "Cookie": ours["Cookie"][:-1] + "!"},
    "no token": lambda ours: {**ours, "Cookie": ours["Cookie"].partition("=")[0] + "="},
    "a token that is not ASCII": lambda ours: {**ours, "Cookie": ours["Cookie"].partition("=")[0] + "=\xe9"},
    "the cookie of another port": lambda ours: {**ours, "Cookie": "x" + ours["Cookie"]},
    "two cookies": lambda ours: {**ours, "Cookie": f"{ours['Cookie']}; {ours['Cookie']}"},
    "a rebound name": lambda ours: {**ours, "Host": "evil.example"},
    "localhost": lambda ours: {**ours, "Host": ours["Host"].replace("127.0.0.1", "localhost")},
    "another port": lambda ours: {**ours, "Host": "127.0.0.1:1"},
    "no port": lambda ours: {**ours, "Host": "127.0.0.1"},
    "a longer host": lambda ours: {**ours, "Host": ours["Host"] + ".evil.example"},
    "a foreign page": lambda ours: {**ours, "Origin": "http://evil.example"},
    "a page of another port": lambda ours: {**ours, "Origin": "http://127.0.0.1:1"},
    "a page without an origin": lambda ours: {**ours, "Origin": "null"},
    "https": lambda ours: {**ours, "Origin": ours["Origin"].replace("http:", "https:")},
}


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(route) for route in ROUTES])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_refused_on_every_route(served, method, path, stranger):
    answer = served.request(method, path, STRANGERS[stranger](served.headers), CSV if method == "POST" else None)
    assert answer.status == (421 if "Host" in stranger or answer.status == 421 else 403)
    assert served.door.token.encode() not in answer.content
    assert answer.getheader("Set-Cookie") is None
    wrong_host = STRANGERS[stranger](served.headers)["Host"] != served.door.host
    assert (answer.status == 421) is wrong_host


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_gets_no_socket(served, stranger):
    handshake = {
        **STRANGERS[stranger](served.headers),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = served.request("GET", "/socket", handshake)
    assert answer.status in (403, 421)
    assert served.request("GET", "/socket", {**handshake, **served.headers}).status == 101


def test_what_changes_something_has_to_name_its_origin(served):
    assert served.request("POST", "/table", without(served.headers, "Origin"), CSV).status == 403
    assert served.request("GET", "/", without(served.headers, "Origin")).status == 200  # a browser names none there
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://{served.door.host}/socket", additional_headers={"Cookie": served.headers["Cookie"]}),
    ):
        pass
    assert refused.value.response.status_code == 403


def test_two_hosts_are_none(served):
    host = served.door.host
    for lines in (f"Host: {host}\r\nHost: evil.example", f"Host: evil.example\r\nHost: {host}", "X-No-Host: 1"):
        answer = served.raw(f"GET / HTTP/1.1\r\n{lines}\r\nCookie: {served.headers['Cookie']}\r\n\r\n".encode())
        assert answer.split()[1] in (b"400", b"421")


@pytest.mark.parametrize("query", ["token=", "token=x", "token={0}&token={0}", "TOKEN={0}", "token={0}x"])
def test_a_token_that_is_not_quite_it_opens_nothing(served, query):
    answer = served.request("GET", f"/?{query.format(served.door.token)}", {"Host": served.door.host})
    assert answer.status == 403


def test_the_token_opens_the_page_alone(served):
    for method, path in ROUTES[1:]:
        headers = {"Host": served.door.host, "Origin": served.door.origin}
        assert served.request(method, f"{path}?token={served.door.token}", headers).status == 403


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(route) for route in ROUTES])
@pytest.mark.parametrize("welcome", [True, False])
def test_every_answer_says_what_a_browser_must_not_do(served, method, path, welcome):
    headers = served.headers if welcome else {"Host": "evil.example"}
    answer = served.request(method, path, headers, b"" if method == "POST" else None)
    assert answer.getheader("Content-Security-Policy").startswith("default-src 'self';")
    assert "unsafe" not in answer.getheader("Content-Security-Policy")
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    assert answer.getheader("Cache-Control") == "no-store"
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.getheader("Server") is None


def test_it_listens_on_this_machine_alone(served):
    assert served.listener.getsockname()[0] == "127.0.0.1"


def test_no_address_from_a_client_is_opened(served):
    names = (
        "../server.py",
        "..%2fserver.py",
        "%2e%2e/server.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "main.js%00",
        ".",
        "",
    )
    for name in names:
        answer = served.request("GET", f"/static/{name}", served.headers)
        assert answer.status == 404, name
        assert b"import" not in answer.content


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_none(served, method):
    for _, path in ROUTES[:-1]:
        assert served.request(method, path, served.headers).status in (404, 405)


# --- too much, too slow -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/socket"])
@pytest.mark.parametrize("how", ["Content-Length: 1073741824", "Transfer-Encoding: chunked"])
def test_a_body_where_none_belongs_is_refused_unread(served, path, how):
    head = served.head(f"GET {path} HTTP/1.1", served.headers)[:-2] + how.encode() + b"\r\n\r\n"
    assert served.raw(head).split()[1] == b"413"


def test_a_table_of_a_gigabyte_is_refused_unread(served):
    head = served.head("POST /table HTTP/1.1", {**served.headers, "Content-Length": str(2**30)})
    assert served.raw(head).split()[1] == b"413"


def test_a_table_that_does_not_say_how_large_it_is_ends_at_the_limit(fresh):
    head = served_chunks(fresh)
    with socket.create_connection(("127.0.0.1", fresh.door.port), timeout=20) as line:
        line.sendall(head)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(1000):
                line.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert everything(line).split()[1] == b"413"


def served_chunks(one: Served) -> bytes:
    return one.head("POST /table HTTP/1.1", {**one.headers, "Transfer-Encoding": "chunked"})


def test_a_slow_sender_is_told_so(fresh):
    with socket.create_connection(("127.0.0.1", fresh.door.port), timeout=20) as line:
        line.sendall(served_chunks(fresh) + b"3\r\na,b\r\n")
        assert everything(line).split()[1] == b"408"


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/table", "/socket"])
def test_a_head_that_never_ends_is_told_so(fresh, path):
    with socket.create_connection(("127.0.0.1", fresh.door.port), timeout=20) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {fresh.door.host}\r\nX-Slow: ".encode())
        assert everything(line).split()[1] == b"408"


def test_a_connection_that_says_nothing_is_closed(fresh):
    with socket.create_connection(("127.0.0.1", fresh.door.port), timeout=20) as line:
        assert everything(line) == b""


def test_a_page_that_rests_is_not_closed(fresh):
    with fresh.socket() as line:
        time.sleep(1.2)  # more than twice the patience with a head
        assert ask(line, 1)[-1]["id"] == 1


def test_too_many_rows_are_refused(fresh):
    answer = fresh.request("POST", "/table", fresh.headers, b"a,b\n" + b"1,2\n" * 1001)
    assert answer.status == 422
    assert "at most 1,000 rows; this one has 1,001" in json.loads(answer.content)["problem"]


def test_a_thousand_sockets_are_refused_and_cost_nothing(served):
    before = resident()
    with contextlib.ExitStack() as held:
        for _ in range(server.MOST_SOCKETS):
            held.enter_context(served.socket())
        with pytest.raises(InvalidStatus) as refused:
            held.enter_context(served.socket())
        assert refused.value.response.status_code == 503
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
        request = served.head("GET /socket HTTP/1.1", {**served.headers, **upgrade, **key})
        for _ in range(1000 - server.MOST_SOCKETS):  # not by the client's own class, which takes ten times as long
            assert served.raw(request).split()[1] == b"503"
    # A refused socket's buffers would be 64 KiB and more: a thousand of them kept are 64 MiB. Half of that is noise.
    assert resident() - before < 32 * 2**20
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # the server sees them close a moment later
        with contextlib.suppress(InvalidStatus), served.socket() as line:
            assert ask(line, 1)[-1]["id"] == 1
            return
    pytest.fail("no socket came free again")


def resident() -> int:
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_too_many_connections_are_answered_503(served):
    with contextlib.ExitStack() as held:
        lines = [
            held.enter_context(socket.create_connection(("127.0.0.1", served.door.port), timeout=20))
            for _ in range(server.MOST_CONNECTIONS + 20)
        ]
        lines[-1].sendall(served.head("GET / HTTP/1.1", {**served.headers, "Connection": "close"}))
        assert everything(lines[-1]).split()[1] == b"503"


# --- tables -------------------------------------------------------------------------------------------------------


def test_a_table_is_kept_and_played_with(served):
    answer = served.request("POST", "/table", {**served.headers, "X-File-Name": "..%2F..%2Fetc%2Fpasswd"}, CSV)
    assert answer.status == 200
    number = json.loads(answer.content)["table"]
    with served.socket() as line:
        got = ask(line, 1, {"table": number, "epochs": 3, "starts": 2})
    assert got[0]["ground"]["name"] == "../../etc/passwd"  # what it is called, and no more
    assert got[0]["ground"]["target"]["name"] == "ill"


BROKEN = {
    "nothing": b"",
    "a header alone": b"a,b\n",
    "a short row": b"a,b\n1,2\n3\n",
    "a quote that is never closed": b'a,b\n1,"2\n',
    "NUL bytes": b"a,b\n1,\0\n",
    "a name twice": b"a,a\n1,2\n",
    "one column": b"a\n1\n2\n",
    "JSON with NaN": b'{"a": [NaN]}',
    "a zip archive": b"PK\x03\x04" + bytes(100),
    "a pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtins\x94",
    "a gzip bomb's beginning": b"\x1f\x8b\x08\x00" + bytes(20),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_table_is_refused_with_what_is_wrong(served, broken):
    answer = served.request("POST", "/table", served.headers, BROKEN[broken])
    assert answer.status == 422
    said = json.loads(answer.content)["problem"]
    assert re.search(r"\w{4}", said)
    assert "/tmp" not in said


def test_a_table_that_breaks_off_leaves_the_server_as_it_was(served):
    with socket.create_connection(("127.0.0.1", served.door.port), timeout=20) as line:
        line.sendall(served.head("POST /table HTTP/1.1", {**served.headers, "Content-Length": "100"}) + b"a,b\n1,2\n")
    assert served.request("POST", "/table", served.headers, CSV).status == 200


def test_only_some_tables_are_kept(served):
    sent = [
        served.request("POST", "/table", served.headers, CSV + b"%d.5,no\n" % n).content
        for n in range(service.MOST_TABLES + 1)
    ]
    oldest, *_, newest = (json.loads(one)["table"] for one in sent)
    with served.socket() as line:
        assert "does not hold this table" in ask(line, 1, {"table": oldest})[-1]["problem"]
        assert "problem" not in ask(line, 2, {"table": newest, "epochs": 2, "starts": 2})[-1]
        assert "problem" not in ask(line, 3, {"epochs": 2, "starts": 2})[-1]


# --- the socket ---------------------------------------------------------------------------------------------------

ASKED: dict[str, Any] = {"id": 1, "settings": {}, "view": {}}
MANY = {f"w1_1_{n}": 1 for n in range(1, 3000)}
BAD_REQUESTS = {
    "NaN": ('{"id": 1, "settings": {"learning_rate": NaN}, "view": {}}', "no NaN"),
    "infinity": ('{"id": 1, "settings": {"learning_rate": -Infinity}, "view": {}}', "no NaN"),
    "1e999": ('{"id": 1, "settings": {"learning_rate": 1e999}, "view": {}}', "64 bits"),
    "no JSON": ("{", "is JSON"),
    "a list": ("[]", "object of JSON"),
    "nested too deep": ("[" * 60_000, "is JSON"),
    "a number of a million digits": ('{"id": ' + "9" * 60_000 + "}", "digits"),
    "a setting twice": ('{"id": 1, "settings": {"seed": 1, "seed": 2}, "view": {}}', "once"),
    "an unknown setting": ('{"id": 1, "settings": {"lerning_rate": 1}, "view": {}}', "learning_rate"),
    "a weight that is none": ('{"id": 1, "settings": {}, "view": {"hand": {"../w": 1}}}', "names of weights"),
    "a weight beyond measure": ('{"id": 1, "settings": {}, "view": {"hand": {"w1_1_1": 1e9}}}', "1,000,000"),
    "weights without an end": (json.dumps({"id": 1, "settings": {}, "view": {"hand": MANY}}), "at most 64"),
    "legs without an end": (json.dumps({"id": 1, "settings": {}, "view": {"legs": [[0, {}]] * 99}}), "at most 4"),
    "a leg that is none": ('{"id": 1, "settings": {}, "view": {"legs": [[0, 1]]}}', "hand has"),
    "a line that is none": ('{"id": 1, "settings": {}, "view": {"slow": "1"}}', "slow is a whole number"),
    "noise beyond measure": ('{"id": 1, "settings": {"noise": 1e3}, "view": {}}', "noise is a number from 0 to 10"),
    "edits without an end": (json.dumps({**ASKED, "edits": {"deleted": list(range(101))}}), "At most 100"),
    "edits that are none": (json.dumps({**ASKED, "edits": {"added": [["/etc/passwd", "yes"]]}}), "added has a value"),
    "an unknown edit": (json.dumps({**ASKED, "edits": {"renamed": []}}), "added, moved, deleted"),
    "NaN in an edit": ('{"id": 1, "settings": {}, "view": {}, "edits": {"moved": [[0, {"dose": NaN}]]}}', "no NaN"),
    "bytes": (b"\x00\x01", "bytes"),
}


@pytest.mark.parametrize("bad", BAD_REQUESTS)
def test_a_bad_request_is_answered_and_the_next_one_too(served, bad):
    text, said = BAD_REQUESTS[bad]
    with served.socket() as line:
        line.send(text)
        (answer,) = answers(line)
        assert answer["status"] == 422
        assert said in answer["problem"]
        assert ask(line, 2)[-1]["id"] == 2


def test_edits_and_weights_by_hand_are_answered_on_the_socket(served):
    edits = {"added": [[{"dose": 3.5}, "yes"]], "moved": [[3, {"dose": 9.0}]], "deleted": [1, 2]}
    with served.socket() as line:
        view = {"hand": {"w1_1_1": 0.5}, "slow": 4, "row": 40}
        line.send(json.dumps({"id": 1, "settings": {"epochs": 5, "starts": 3}, "view": view, "edits": edits}))
        got = {name: part for message in answers(line) for name, part in message.items()}
        assert "problem" not in got, got["problem"]
        assert 40 in got["points"]["row"]
        assert not {1, 2} & set(got["points"]["row"].tolist())
        assert got["view"]["vector"][0] == 0.5
        line.send(json.dumps({"id": 2, "settings": {"epochs": 5, "starts": 3}, "view": {"row": 40}}))
        assert "from 0 to 39; got 40" in answers(line)[-1]["problem"]  # the row is gone with the edit


def test_a_request_of_many_bytes_ends_the_socket(served):
    with served.socket() as line:
        line.send("x" * (server.MOST_REQUEST + 1))
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009  # too big, as RFC 6455 has it


def test_the_newest_request_is_the_one_that_is_answered(served):
    n = 60
    with served.socket() as line:
        for number in range(1, n + 1):
            settings = {"starts": 100, "epochs": 200, "hidden": [4], "learning_rate": 0.1 + number / 100}
            line.send(json.dumps({"id": number, "settings": settings, "view": {}}))
        seen = [message := unpacked(line.recv(timeout=60))]
        while not (message["id"] == n and message["last"]):
            seen.append(message := unpacked(line.recv(timeout=60)))
    ids = [message["id"] for message in seen]
    assert ids == sorted(ids)
    assert len(set(ids)) < n  # some were dropped unanswered


def test_an_answer_does_not_wait_for_the_page_to_say_something(fresh):
    with fresh.socket():
        sockets = [one.transport.get_extra_info("socket") for one in tuple(fresh.uvicorn.server_state.connections)]
        assert sockets
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


def test_a_runaway_setting_is_stopped_and_said(served, monkeypatch):
    with served.socket() as line:
        first = ask(line, 1, {"learning_rate": 1e6, "epochs": 50, "starts": 10, "activation": "identity"})[0]
        assert (first["starts"]["ails"][:, 2] >= 0).any()  # the step at which each diverged
        assert first["view"]["loss"] is not None  # the last finite numbers are what is shown
        monkeypatch.setattr(service, "MOST_SECONDS", 0.2)
        heavy = {"epochs": 2000, "batch": 1, "starts": 1000, "hidden": [16] * 4}
        problems = [message["problem"] for message in ask(line, 2, heavy) if "problem" in message]
        assert "of 1000 starts are trained" in problems[0]
        monkeypatch.setattr(job, "MOST_WORK", 1e6)
        assert "times as long" in ask(line, 3, {**heavy, "seed": 1})[-1]["problem"]


def test_a_socket_that_goes_away_in_the_midst_of_work_leaves_nothing_behind(served):
    for _ in range(3):
        with served.socket() as line:
            line.send(json.dumps({"id": 1, "settings": {"starts": 500, "epochs": 500, "hidden": [16, 16]}, "view": {}}))
            line.recv(timeout=60)
    with served.socket() as line:
        assert ask(line, 2)[-1]["id"] == 2


# --- the command --------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said(served):
    with pytest.raises(UsageError, match="--port is one that is free"):
        server.listening(served.door.port)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing on Windows")
def test_the_command_prints_its_address_and_ends_with_ctrl_c(tmp_path):
    table = tmp_path / "ill.csv"
    table.write_bytes(CSV)
    command = [sys.executable, "-m", "glassnet", "play", str(table), "--target", "ill", "--no-browser"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    address = child.stdout.readline().strip()
    found = re.fullmatch(r"http://(127\.0\.0\.1:\d+)/\?token=([\w-]{32})", address)
    assert found, address
    line = http.client.HTTPConnection(found[1], timeout=20)
    line.request("GET", f"/?token={found[2]}")
    assert line.getresponse().status == 200
    line.close()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", "")
