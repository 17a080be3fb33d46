"""The page's server: Starlette behind a guard, on this machine alone.

Whoever reads the address that `glassnet play` prints may use it, and nobody else: the token in it is exchanged for a
cookie, and Host and Origin have to be this server's own on every route and on the socket. What a client sends is a
request that `state` reads strictly, or a table's bytes; no path and no address from a client is ever opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import importlib.resources
import logging
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from glassnet.errors import GlassnetError, UsageError
from glassnet.kernels.threads import all_threads
from glassnet.web.frames import pack
from glassnet.web.ground import Source
from glassnet.web.service import MOST_ROWS, Page, Service
from glassnet.web.state import Asked, offered, parse

HOST = "127.0.0.1"

MOST_BYTES = 64 * 2**20
"""Bytes of a table that is sent."""

MOST_REQUEST = 64 * 1024
"""Bytes of one request on the socket."""

MOST_SOCKETS = 16
"""Pages that are served at a time."""

MOST_CONNECTIONS = 128
"""Connections of any kind; further ones are answered 503."""

SLOWEST = 10.0
"""Seconds in which a request's head has to be complete, and seconds for every MiB of its body."""

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_END: dict[str, Any] = {}
_log = logging.getLogger("glassnet.play")


@dataclass(frozen=True)
class Door:
    """Who is let in: the one origin, and the token."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def host(self) -> str:
        """What the Host header has to be."""
        return f"{HOST}:{self.port}"

    @property
    def origin(self) -> str:
        """What the Origin header has to be."""
        return f"http://{self.host}"

    @property
    def address(self) -> str:
        """The page's address, token and all."""
        return f"{self.origin}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The cookie's name; of each port its own, for cookies do not tell ports apart."""
        return f"glassnet-play-{self.port}"

    def is_token(self, given: str) -> bool:
        """Whether it is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


class Guard:
    """Around the application: every request and every socket passes here first, and is refused here."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door
        self.sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to the application, or answer it with what is wrong."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is None and scope["type"] == "websocket" and self.sockets >= MOST_SOCKETS:
            refused = 503, f"This server shows at most {MOST_SOCKETS} pages at a time. Close one of them."
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
            return
        if scope["type"] == "http":
            await self.app(scope, receive, _with_headers(send))
            return
        self.sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sockets -= 1

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason for which a request is refused; None where it is let in."""
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts, origins = ([value for name, value in headers if name == wanted] for wanted in ("host", "origin"))
        if hosts != [self.door.host]:
            return 421, f"This server answers to the host {self.door.host} alone."
        must_name_origin = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if origins != [self.door.origin] and (origins or must_name_origin):
            return 403, f"This server answers pages of {self.door.origin} alone."
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["type"] == "http" and scope["path"] == "/" and len(asked) == 1 and self.door.is_token(asked[0]):
            return None
        cookies = [part.strip() for name, value in headers if name == "cookie" for part in value.split(";")]
        given = [part.partition("=")[2] for part in cookies if part.partition("=")[0] == self.door.cookie]
        if len(given) != 1 or not self.door.is_token(given[0]):
            return 403, "Open the page by the address that glassnet play has printed: the token in it is the key."
        if scope["type"] == "http" and scope["method"] != "POST" and _has_body(headers):
            return 413, "This address takes no body."
        return None


def _has_body(headers: list[tuple[str, str]]) -> bool:
    return any(name == "transfer-encoding" or (name == "content-length" and value != "0") for name, value in headers)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    response = PlainTextResponse(f"{reason}\n", status, {**_HEADERS, "Connection": "close"})
    if scope["type"] == "websocket":
        await receive()  # the handshake
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def _with_headers(send: Send) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            more = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sent


def static_files() -> dict[str, tuple[bytes, str]]:
    """Every file of the page by its name, with its type: read once, so that no name from a client is ever opened."""
    folder = importlib.resources.files("glassnet.web") / "static"
    found = {}
    for item in folder.iterdir():
        suffix = item.name[item.name.rfind(".") :]
        if suffix in _KINDS:
            found[item.name] = item.read_bytes(), f"{_KINDS[suffix]}; charset=utf-8"
    return found


def application(service: Service, door: Door) -> Guard:
    """The page, its files, tables that are sent, and the socket."""
    files = static_files()

    async def index(request: Request) -> Response:
        response = Response(files["index.html"][0], headers={"Content-Type": files["index.html"][1]})
        response.set_cookie(door.cookie, door.token, httponly=True, samesite="strict", path="/")
        return response

    async def file(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("There is no such file.\n", 404)
        return Response(found[0], headers={"Content-Type": found[1]})

    async def table(request: Request) -> Response:
        try:
            content = await _body(request, MOST_BYTES)
            name = unquote(request.headers.get("x-file-name", "")[:1000])[:200] or "a table"
            number = await asyncio.to_thread(service.add, content, name)
        except _TooLargeError:
            mib = MOST_BYTES // 2**20
            return _problem(413, f"A table sent to the page has at most {mib} MiB and {MOST_ROWS:,} rows.")
        except TimeoutError:
            return _problem(408, f"A table comes at a MiB in {SLOWEST:.0f} s or faster; this one came slower.")
        except ClientDisconnect:
            return _problem(400, "The table ended before its end.")
        except GlassnetError as problem:
            return _problem(422, str(problem))
        return JSONResponse({"table": number})

    async def page(socket: WebSocket) -> None:
        await _serve(socket, Page(service))

    routes = [
        Route("/", index, methods=["GET"]),
        Route("/static/{name}", file, methods=["GET"]),
        Route("/table", table, methods=["POST"]),
        WebSocketRoute("/socket", page),
    ]
    return Guard(Starlette(routes=routes), door)


def _problem(status: int, said: str) -> Response:
    # What is left of a body is not waited for.
    return JSONResponse({"problem": said}, status, {"Connection": "close"})


class _TooLargeError(Exception):
    pass


async def _body(request: Request, most: int) -> bytes:
    """A request's body, which may neither be too large nor come too slowly."""
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > most:
        raise _TooLargeError
    parts: list[bytes] = []
    got = 0
    stream = aiter(request.stream())
    deadline = asyncio.get_running_loop().time() + SLOWEST
    while True:
        async with asyncio.timeout_at(deadline + SLOWEST * got / 2**20):
            part = await anext(stream, None)
        if part is None:
            return b"".join(parts)
        got += len(part)
        if got > most:
            raise _TooLargeError
        parts.append(part)


# --- the socket ---------------------------------------------------------------------------------------------------


async def _serve(socket: WebSocket, page: Page) -> None:
    """Answer a page's requests, always the newest: work on an older one ends as soon as a newer one is there."""
    await socket.accept()
    await socket.send_bytes(pack(offered()))
    waiting: list[Asked | dict[str, Any]] = []
    arrived = asyncio.Event()

    async def work() -> None:
        while True:
            await arrived.wait()
            arrived.clear()
            asked = waiting.pop()
            if isinstance(asked, dict):
                await socket.send_bytes(pack(asked))
                continue
            # While a slider is dragged an answer takes some milliseconds; to hand it to another thread and back takes
            # two waits for a core, where browser and server have no more than two.
            here = all_threads() <= 2 and page.at_once(asked)
            answers = page.answers(asked)
            while True:
                making = partial(_next_frame, answers, asked.id)
                found = making() if here else await asyncio.to_thread(making)
                here = here and isinstance(found, bytes)
                if found is None:
                    break
                if isinstance(found, bytes):
                    await socket.send_bytes(found)
                else:
                    await _rest(arrived, found)
                if waiting:
                    break

    worker = asyncio.create_task(work())
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            waiting[:] = [_asked(message.get("text"))]
            page.overtaken()
            arrived.set()
            if worker.done():
                worker.result()
    except WebSocketDisconnect:
        pass
    finally:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await worker


async def _rest(arrived: asyncio.Event, seconds: float) -> None:
    """So long, or until a newer request is there."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(arrived.wait(), seconds)


def _asked(text: str | None) -> Asked | dict[str, Any]:
    """The request, or the message that says what is wrong with it; it has no number then."""
    try:
        if text is None:
            raise UsageError("A request is text; these are bytes.")
        return parse(text)
    except GlassnetError as problem:
        return {"status": 422, "problem": str(problem), "last": True}


def _next_frame(answers: Iterator[dict[str, Any] | float], number: int) -> bytes | float | None:
    """The next frame, or for how many seconds what follows can wait; None at the end."""
    try:
        message = next(answers, _END)
        return None if message is _END else message if isinstance(message, float) else pack(message)
    except Exception:
        _log.exception("request %d", number)
        said = "Something in glassnet went wrong; what it was stands in the terminal where glassnet play runs."
        return pack({"id": number, "problem": said, "last": True})


# --- starting -----------------------------------------------------------------------------------------------------


class _Patient(H11Protocol):
    """Connections that never send a whole request's head are closed, with 408 where they sent a part of it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waiting: asyncio.TimerHandle | None = None
        self._got_bytes = False
        self._wait()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(SLOWEST, self._too_slow)

    def _too_slow(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return
        if self._got_bytes:
            self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        self._got_bytes = True
        super().data_received(data)
        if self._waiting is not None and (self.cycle is not before or self.transport.get_protocol() is not self):
            self._waiting.cancel()
            self._waiting = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._got_bytes = False
        if self._waiting is None and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)


def listening(port: int) -> socket.socket:
    """A socket that listens on this machine alone; port 0 is any that is free.

    Raises UsageError: the port is taken.
    """
    # asyncio sends without delay on sockets that say they are of TCP, and on no others. With a delay an answer waits
    # until the one before is acknowledged, which a browser does when it has something to say.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(MOST_CONNECTIONS)
    except OSError as problem:
        listener.close()
        raise UsageError(
            f"--port is one that is free on this machine; {port} is not: {problem.strerror}. "
            "Name another, or leave it out."
        ) from problem
    return listener


def server(service: Service, listener: socket.socket, door: Door) -> uvicorn.Server:
    """A server for the page, to be run on `listener`."""
    config = uvicorn.Config(
        application(service, door),
        http=_Patient,
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        ws_max_size=MOST_REQUEST,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=16 * 1024,
    )
    return uvicorn.Server(config)


def play(source: Source, port: int = 0, *, browser: bool = True, say: Callable[[str], None] = print) -> None:
    """Serve the page until Ctrl-C; `say` is told its address, and the browser opens it.

    Raises UsageError: the port is taken.
    """
    listener = listening(port)
    door = Door(listener.getsockname()[1])
    serving = server(Service(source), listener, door)
    say(door.address)
    # While one thread computes the other has to take the next request: Python lets it wait for 5 ms otherwise.
    sys.setswitchinterval(0.001)
    if browser:
        # Beside the server, for a browser in a terminal is not done before it is closed.
        threading.Thread(target=webbrowser.open, args=[door.address], daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        serving.run(sockets=[listener])
