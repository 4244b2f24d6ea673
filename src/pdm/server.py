"""The HTTP server of a role: uvicorn with bounds on connections and on patience. Knows no route."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 800  # < the usual 1,024 descriptors, less some 100 for engines and files
MAX_HEAD_BYTES = 64 * 1024  # request line and headers; what is longer is no HTTP to this server and gets a bare 400
HEAD_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 5
CLOSE_STREAMS_S = 2  # an open event stream would otherwise hold the process for ever


def make_server(app: Any, host: str, port: int) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=_Impatient,
            ws="none",
            log_config=None,
            lifespan="off",
            limit_concurrency=MAX_CONNECTIONS,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSE_STREAMS_S,
            server_header=False,
        )
    )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `run_role` decides the order of stopping."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Impatient(H11Protocol):
    """uvicorn waits for ever for the head of a request, and for the rest of a body that nobody reads any more."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline is not None:
            self._deadline.cancel()

    def _wait_for_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if not is_answering and not self.transport.is_closing():
            if self.conn.our_state is not h11.ERROR:
                self.conn.send(h11.ConnectionClosed())
            self.transport.close()
