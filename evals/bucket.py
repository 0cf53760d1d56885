"""A bucket of S3, Google Cloud or Azure: bytes by name, put only where there is none, and no secret in a message.

    s3://BUCKET/PREFIX   gs://BUCKET/PREFIX   az://CONTAINER/PREFIX

obstore speaks to the provider, tries again with growing pauses, and finds credentials where the
provider's tools do: in the environment, or on the machine. Nothing is ever deleted or renamed, so
rights to list, read and write are enough.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from evals.schema import ConfigError, InvalidError, MissingError

SCHEMES = ("s3", "gs", "az")
CACHE_VARIABLE = "EVALS_CACHE"
# On top of what obstore tries by itself. It leaves alone a conditional put that lost its connection,
# which may have been carried out; for us a second one is harmless.
TRIES = 5
TRANSFERS = 8  # at once
# A request, and all repetitions of one by obstore. A shard has some ten MB.
REQUEST_TIMEOUT, RETRY_TIMEOUT = "120 seconds", timedelta(seconds=180)

_PLACE = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]*[a-z0-9])((?:/[^/?#\s@]+)*)/?")
# Where buckets of one name may be two: what they hold must not meet in one cache.
_ELSEWHERE = re.compile(
    r"(AWS|GOOGLE|AZURE)_.*(ENDPOINT(_URL(_S3)?)?|ACCOUNT_NAME|BASE_URL|USE_EMULATOR)"
    r"|AZURITE_BLOB_STORAGE_URL"
)
# The parts of a message of obstore that hold nothing but words of a protocol.
_REASONS = (
    re.compile(r"<Code>(\w{1,60})</Code>"),
    re.compile(r"status code: (\d{3} [A-Z][A-Za-z ]{1,40}[a-z])"),
    re.compile(
        r"(error sending request|operation timed out|error decoding response body"
        r"|Account must be specified)"
    ),
)
# Where machines of the three providers hand out credentials: asked where the environment has none.
_OF_MACHINE = re.compile(r"token request|/latest/(api/token|meta-data)|169\.254\.169\.254")

T = TypeVar("T")
Location = Path | str


def location(text: str | Path) -> Location:
    """A folder as a path, a bucket as the text of its URL. ConfigError for any other URL."""
    if isinstance(text, Path) or "://" not in text:
        return Path(text)
    # Names of objects are no paths: a provider would take `..` for a name, and clients refuse it.
    has_dots = not {".", ".."}.isdisjoint(text.split("/"))
    if _PLACE.fullmatch(text) is None or has_dots:
        # Not the text: it may hold a password.
        raise ConfigError(
            "A folder or a bucket is wanted, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://CONTAINER/PREFIX, and this is another URL. A prefix has no spaces, no ?, # or @, "
            "and no part of dots alone. Credentials belong in the environment, never into a URL."
        )
    return text.rstrip("/")


def cache_of(url: str) -> Path:
    """The folder of this machine that holds what was read from and written to a bucket.

    Below EVALS_CACHE, or ~/.cache/jina-clip-evals.
    """
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jina-clip-evals"
    root = Path(os.environ.get(CACHE_VARIABLE) or usual)
    places = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if _ELSEWHERE.match(name)]
    digest = hashlib.sha256("\n".join([url, *places]).encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", url)
    return root / f"{readable[:80]}-{digest[:12]}"


def folder_of(place: Location) -> Path:
    """The folder that stands for a place on this machine."""
    return place if isinstance(place, Path) else cache_of(place)


class Bucket:
    """The objects below a prefix, named by the rest of their path.

    Every method raises MissingError when the bucket does not answer, or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._store = _opened(url)  # now: that the library is missing is said before any work

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of every object below a folder, by its whole name."""
        import obstore

        def listed() -> list[Any]:
            return list(obstore.list(self._store, folder or None).collect())

        return {entry["path"]: entry["size"] for entry in self._try("list", folder, listed)}

    def get(self, name: str, is_sound: Callable[[bytes], bool]) -> bytes | None:
        """The bytes of an object; None where there is none.

        Bytes that are not sound are read again, since a connection may lose its second half.
        InvalidError when they stay so.
        """
        import obstore

        def read() -> bytes | None:
            try:
                return bytes(obstore.get(self._store, name).bytes())
            except FileNotFoundError:
                return None

        for _ in range(TRIES):
            data = self._try("read", name, read)
            if data is None or is_sound(data):
                return data
        raise InvalidError(f"{self.url}/{name}: not what was written there, {TRIES} times in a row")

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        self._try("write", name, lambda: self._put(name, data, "overwrite"))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write an object unless there is one of that name; False where there is.

        That may be this very one: an answer was lost, and the request was made again.
        """
        from obstore.exceptions import AlreadyExistsError

        def put() -> bool:
            try:
                self._put(name, data, "create")
            except AlreadyExistsError:
                return False
            return True

        return self._try("write", name, put)

    def each(self, work: Callable[[str], None], names: Iterable[str]) -> None:
        """Do the same with many objects, several at a time; the first error ends it."""
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for _ in pool.map(work, names):
                pass

    def _put(self, name: str, data: bytes, mode: Any) -> None:
        import obstore

        # In one request: the condition holds for the object as a whole.
        obstore.put(self._store, name, data, mode=mode, use_multipart=False)

    def _try(self, action: str, name: str, call: Callable[[], T]) -> T:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        where = f"{self.url}/{name}".rstrip("/")
        for attempt in range(1, TRIES + 1):
            try:
                return call()
            except (BaseError, OSError) as error:
                is_final = isinstance(
                    error, (PermissionDeniedError, UnauthenticatedError, FileNotFoundError)
                )
                if not is_final and attempt < TRIES:
                    continue
                reason = _reason(error)
            # The library's message holds the request, whose URL or answer may tell a key.
            raise MissingError(
                f"{where}: cannot {action} it ({reason}). Check the bucket's name, the network and "
                "the credentials in the environment; what is on this machine stays, and the same "
                "command goes on."
            )
        raise AssertionError("the last try returns or raises")


def _opened(url: str) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        raise MissingError(
            f"{url}: buckets need obstore. Run: pip install 'jina-clip-evals[buckets]'."
        ) from None
    match = _PLACE.fullmatch(url)
    assert match is not None, "`location` lets no other through"
    scheme, bucket, prefix = match.groups()
    stores: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    try:
        return stores[scheme](
            bucket,
            prefix=prefix.strip("/") or None,
            # As client_options it would stand in for all that the environment says of the client.
            config={"timeout": REQUEST_TIMEOUT},
            retry_config={"retry_timeout": RETRY_TIMEOUT},
        )
    except BaseError as error:
        reason = _reason(error)
    raise MissingError(
        f"{url}: cannot be opened ({reason}). Set what its provider needs in the environment, such "
        "as AZURE_STORAGE_ACCOUNT_NAME."
    )


def _reason(error: Exception) -> str:
    """What went wrong, in the words of the protocol; the name of the error where there are none."""
    text = str(error)
    reasons = [match[1] for match in (reason.search(text) for reason in _REASONS) if match]
    if _OF_MACHINE.search(text):
        reasons.insert(0, "no credentials in the environment, and the machine gives none")
    return ", ".join(reasons) or type(error).__name__
