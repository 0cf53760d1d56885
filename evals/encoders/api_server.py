"""Sends requests to an embeddings API in parallel, at a limited pace, and repeats those that may succeed later.

tenacity decides when a request is tried again, httpx2 sends it, anyio limits how many run at once
and for how long.
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
import anyio.from_thread
import httpx2
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from evals.encoders.api_refusals import (
    LONGEST_WAIT,
    PassingError,
    TooMuchError,
    one_line,
    refusal,
)
from evals.encoders.endpoint import Endpoint, is_loopback, read_key, read_spacing
from evals.reading import read_json
from evals.schema import ConfigError, InvalidError, MissingError

SIDE_BY_SIDE = 4  # requests at once; one fewer after each 429
# With full jitter the five waits between them add up to 31 seconds at most.
TRIES = 6
# A host that takes longer is not there; an answer may well take longer.
CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 180.0  # from the first byte sent to the last one received
ANSWER_BYTES = 1 << 26  # 128 rows of 8,192 numbers have 25 MB
REFUSAL_BYTES = 1 << 16  # only a line of it is shown
# "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
BACK_OFF = wait_random_exponential(multiplier=1, max=LONGEST_WAIT)

T = TypeVar("T")

# Tests put their own here, so that none of them waits.
_pause = anyio.sleep
_clock = time.monotonic


class Pace:
    """Turns that are `spacing` seconds apart, and none while the server wants a rest.

    Ours and not a library's: their rate limiters live in one event loop each, and every side that
    is encoded has a loop of its own.
    """

    def __init__(self, spacing: float) -> None:
        self.spacing = spacing
        self._next_turn = 0.0

    async def turn(self) -> None:
        """Wait until it is the caller's turn."""
        now = _clock()
        # No await between reading and writing: one loop, so no other request comes in between.
        start = max(self._next_turn, now)
        self._next_turn = start + self.spacing
        if start > now:
            await _pause(start - now)

    def rest(self, seconds: float) -> None:
        """Give nobody a turn for so long."""
        self._next_turn = max(self._next_turn, _clock() + seconds)


class Server:
    """Posts JSON to an endpoint and reads JSON back; `usage` counts its requests and retries.

    The key is read from the first of KEYS that is set; without one there is no Authorization
    header. EVALS_API_RPM spaces the requests. ConfigError for values of these that cannot be meant.
    """

    def __init__(self, endpoint: Endpoint, name: str, usage: dict[str, int]) -> None:
        self.endpoint, self.usage = endpoint, usage
        self.where = f"{name}: {urlsplit(endpoint.url).netloc}"
        self.lanes = SIDE_BY_SIDE
        self._pace = Pace(read_spacing())
        self._limiter = anyio.CapacityLimiter(self.lanes)
        read_key()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Connections for the requests of a side.

        ConfigError or MissingError: the URL or a proxy of the environment cannot be used.
        """
        self._limiter = anyio.CapacityLimiter(self.lanes)  # it belongs to one event loop
        try:
            httpx2.URL(self.endpoint.url)
            client = self._client()
        except httpx2.InvalidURL as error:
            raise ConfigError(
                f"{self.where}: the URL, or that of a proxy, is none ({error}). Correct it."
            ) from None
        except (ImportError, ValueError) as error:
            raise MissingError(
                f"{self.where}: the proxy of the environment cannot be used ({error}). Correct it."
            ) from None
        async with client:
            yield client

    async def post(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> Any:
        """The JSON of a good answer.

        What may pass is tried again: after Retry-After, else after a random wait that doubles.
        TooMuchError for what a smaller request may cure; MissingError, ConfigError or InvalidError
        for what will not pass.
        """
        # Once for all tries, of which each sends the same bytes.
        content = json.dumps(body, allow_nan=False).encode()
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(PassingError),
            stop=stop_after_attempt(TRIES),
            wait=_wait,
            sleep=_pause,
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            answer: bytes = await retrying(self._send, client, content)
        except PassingError as error:
            raise MissingError(
                f"{error}, {TRIES} times. Try again later: what was stored so far is kept."
            ) from None
        return self._strict_json(answer)

    def _client(self) -> httpx2.AsyncClient:
        # A compressed answer could unpack to any size, so none is asked for.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        key = read_key()
        if key.value:
            headers["Authorization"] = f"Bearer {key.value}"
        host = urlsplit(self.endpoint.url).hostname or ""
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            # A request to this machine may be plain http, with the key in it: no proxy sees it.
            trust_env=not is_loopback(host),
        )

    async def _send(self, client: httpx2.AsyncClient, content: bytes) -> bytes:
        """The body of the answer to one try."""
        # First a lane, then a turn: turns would be lost by those that wait for a lane.
        async with self._limiter:
            await self._pace.turn()
            self.usage["requests"] += 1
            try:
                with anyio.fail_after(ANSWER_SECONDS):
                    return await self._exchange(client, content)
            except TimeoutError:
                raise TooMuchError(
                    f"{self.where} gives no whole answer within {ANSWER_SECONDS:g} seconds",
                    "Try again later: what was stored so far is kept.",
                    MissingError,
                ) from None
            except httpx2.RequestError as error:
                cause = f"{type(error).__name__}: {one_line(str(error))}"
                raise PassingError(f"{self.where} cannot be reached ({cause})") from None

    async def _exchange(self, client: httpx2.AsyncClient, content: bytes) -> bytes:
        async with client.stream("POST", self.endpoint.url, content=content) as response:
            if response.status_code == 200:
                return await self._read(response)
            failure = refusal(
                response.status_code,
                await _beginning(response),
                where=self.where,
                model=self.endpoint.model,
                # Read anew, and never an attribute: no traceback and no repr of this object shows
                # it.
                key=read_key(),
                retry_after=response.headers.get("Retry-After"),
            )
            self._slow_down(response.status_code, failure)
            raise failure

    async def _read(self, response: httpx2.Response) -> bytes:
        """The body of a good answer, up to a size."""
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise InvalidError(
                f"{self.where} answers in the encoding {one_line(encoding)}, "
                "which was not asked for. Use another server."
            )
        body = bytearray()
        async for chunk in response.aiter_raw():
            # Counted as it comes: Content-Length is what the server says of itself.
            body += chunk
            if len(body) > ANSWER_BYTES:
                raise TooMuchError(
                    f"{self.where} answers with more than {ANSWER_BYTES:,} bytes",
                    "Check the URL and the model.",
                )
        return bytes(body)

    def _slow_down(self, status: int, failure: Exception) -> None:
        """After 429 one request fewer runs at once; while the server wants a rest, none starts."""
        if status == 429:
            self.lanes = max(1, self.lanes - 1)
            self._limiter.total_tokens = self.lanes
        if isinstance(failure, PassingError) and failure.retry_after is not None:
            self._pace.rest(failure.retry_after)

    def _count_retry(self, state: RetryCallState) -> None:
        self.usage["retries"] += 1

    def _strict_json(self, body: bytes) -> Any:
        try:
            return read_json(body, "the answer")
        except InvalidError as error:
            problem = str(error).rstrip(".")
            raise InvalidError(
                f"{self.where} answers with no strict JSON ({problem}). Check the URL and the model."
            ) from None


def wait_for(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """The result of an async function, for callers in an event loop of their own, too.

    Notebooks have one.
    """
    with anyio.from_thread.start_blocking_portal() as portal:
        return portal.call(function, *arguments)


async def _beginning(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        # The rest is left unread: a refusal of a gigabyte is refused in turn.
        body += chunk
        if len(body) > REFUSAL_BYTES:
            break
    return bytes(body)


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, PassingError) and failure.retry_after is not None:
        return failure.retry_after
    return BACK_OFF(state)
