"""Google's XML API and Azure's Blob service, as far as obstore speaks them: ours, on localbucket's files.

They answer as the public references say, and are not the services: they check no signature, keep
no generations, and know none of the services' limits of rate or size.
https://cloud.google.com/storage/docs/xml-api/reference-headers
https://learn.microsoft.com/rest/api/storageservices/put-blob
"""

from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import localbucket

ACCOUNT, TOKEN = "toyaccount", "a-token-nobody-may-read"
AZURE_CODES = {"NoSuchBucket": "ContainerNotFound", "NoSuchKey": "BlobNotFound"}  # by those of S3
PAGE = 20  # names of one answer to a list, so that every list of the tests goes on


class Refusal(NamedTuple):
    """How a service answers one that it does not let in."""

    status: HTTPStatus
    code: str


class GoogleHandler(localbucket.S3Handler):
    """The XML API: that of S3 but for its condition and its credentials."""

    def _dispatch(self, action):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            refuse(self, EXPIRED["gs"])
            return
        super()._dispatch(action)

    def _put(self, bucket, key):
        generation = self.headers.get("x-goog-if-generation-match")
        if generation is not None:
            # Generation 0 is that of an object that is not there.
            assert generation == "0", generation
            self.headers["If-None-Match"] = "*"
        elif "If-None-Match" in self.headers:
            raise AssertionError("Google ignores If-None-Match of a put")
        super()._put(bucket, key)

    def _max_keys(self):
        return PAGE


class AzureHandler(localbucket.S3Handler):
    """The Blob service at /ACCOUNT/CONTAINER/NAME, with the account's key."""

    def _dispatch(self, action):
        prefix = f"/{ACCOUNT}"
        if not self.headers.get("Authorization", "").startswith(f"SharedKey {ACCOUNT}:"):
            refuse(self, EXPIRED["az"])
            return
        assert urlsplit(self.path).path.startswith(f"{prefix}/"), self.path
        self.path = self.path.removeprefix(prefix)
        super()._dispatch(action)

    def _get_request(self, bucket, key):
        if key:
            super()._get_request(bucket, key)
            return
        assert (self.query["restype"], self.query["comp"]) == ("container", "list")
        contents, _, is_cut, last = self._list_entries(
            self._bucket_dir(bucket),
            self.query.get("prefix", ""),
            "",
            self.query.get("marker", ""),
            False,
            PAGE,
        )
        root = ET.Element("EnumerationResults", ContainerName=bucket)
        blobs = ET.SubElement(root, "Blobs")
        for name, path in contents:
            blob = ET.SubElement(blobs, "Blob")
            localbucket.sub_element(blob, "Name", name)
            properties = ET.SubElement(blob, "Properties")
            modified = localbucket.formatdate(path.stat().st_mtime, usegmt=True)
            localbucket.sub_element(properties, "Last-Modified", modified)
            localbucket.sub_element(properties, "Etag", localbucket.object_etag(path))
            localbucket.sub_element(properties, "Content-Length", str(path.stat().st_size))
            localbucket.sub_element(properties, "Content-Type", "application/octet-stream")
            localbucket.sub_element(properties, "BlobType", "BlockBlob")
        # The kind of an entry stands before its name; without a delimiter there is one kind.
        localbucket.sub_element(root, "NextMarker", last.removeprefix("K:") if is_cut else "")
        self._send_xml(root)

    def _put(self, bucket, key):
        assert self.headers["x-ms-blob-type"] == "BlockBlob"
        body = self._read_body()
        etag = self._write_object(bucket, key, lambda file: localbucket.write_bytes(file, body))
        self._send(HTTPStatus.CREATED, headers={"ETag": f'"{etag}"'})

    def _send_error(self, error):
        if error.code == "PreconditionFailed":
            error = localbucket.S3Error(HTTPStatus.CONFLICT, "BlobAlreadyExists", error.message)
        error.code = AZURE_CODES.get(error.code, error.code)
        super()._send_error(error)


def refuse(handler: localbucket.S3Handler, refusal: Refusal) -> None:
    """Answer with an error as all three write it, which repeats what a client has sent of secrets."""
    handler._read_body()
    sent = handler.headers.get("Authorization", "nothing")
    body = f"<Error><Code>{refusal.code}</Code><Message>It was {sent}.</Message></Error>"
    handler._send(refusal.status, body.encode(), {"Content-Type": "application/xml"})


DIALECTS = {"s3": localbucket.S3Handler, "gs": GoogleHandler, "az": AzureHandler}
# What each says of credentials that were right until a moment ago.
EXPIRED = {
    "s3": Refusal(HTTPStatus.BAD_REQUEST, "ExpiredToken"),
    "gs": Refusal(HTTPStatus.UNAUTHORIZED, "AuthenticationRequired"),
    "az": Refusal(HTTPStatus.FORBIDDEN, "AuthenticationFailed"),
}
