"""The proxy before the real S3: passes everything on, and carries the fault switch and the inspection of S3.

Operations of the switch are the actions of the API, as `CreateBucket`, `PutObject`, and those of IAM, as `CreateUser`.
Requests are signed for the proxy's own address and go on byte for byte, so that the signature holds. While no fault is
armed only the length of each request is looked at. A request that runs into a fault is read to its end first; its
answer may be kept back, since clients wait for one answer before they send the next request.
"""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import boto3
import botocore.config
from botocore.exceptions import ClientError

from sandbox import faults
from sandbox.faults import Fault, Mode
from sandbox.s3_actions import Request, is_last, length, read_chunk, waits_for_a_word, without_expect
from sandbox.seaweed import IDENTITIES, PRODUCT, REGION, Key
from sandbox.standin import LONGEST_HANG, Seen
from sandbox.store import Store
from sandbox.tcp_proxy import CHUNK, Late, TcpProxy, Upstream, reset, until_gone

MANAGED_BY = "tenant-pipelines"
SLOW = 2.0
"""Seconds by which a slow answer comes late."""

LONGEST_EFFECT = 20.0
"""Seconds that the server is given for a call whose client has gone."""

_ANSWERS = {
    Mode.RATE_LIMITED: ("429 Too Many Requests", "SlowDown", "Please reduce your request rate."),
    Mode.SERVER_ERROR: ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    Mode.HALF_DONE: ("500 Internal Server Error", "InternalError", "We encountered an internal error."),
    Mode.UNAUTHORIZED: ("403 Forbidden", "InvalidAccessKeyId", "The access key does not exist in our records."),
}
"""S3 has no 401: a wrong key is a 403 with a code of its own."""

_boto3: Any = boto3
_config: Any = botocore.config


class S3Proxy(TcpProxy):
    """S3 with a fault switch.

    Args:
        upstream: the real server.
        operator: the key that the inspection signs with; it must be allowed to see every bucket and user.
    """

    name = "s3"

    def __init__(self, upstream: Upstream, operator: Key, store: Store | None = None) -> None:
        super().__init__(upstream, store)
        self._operator = operator
        self._clients: dict[str, Any] = {}
        self._looking = threading.Lock()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it is gone."""
        try:
            server = await self.connect()
        except OSError:
            reset(writer)
            return
        await _Connection(self, (reader, writer), server).serve()

    async def state(self, tenant: str | None) -> Sequence[Seen]:
        """Buckets and users, as the real server lists them."""
        return await asyncio.to_thread(self._look, tenant)

    def _look(self, tenant: str | None) -> list[Seen]:
        with self._looking:
            s3, iam = self._client("s3"), self._client("iam")
            buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
            users = [user["UserName"] for user in iam.list_users()["Users"] if user["UserName"] not in IDENTITIES]
            shown = [Seen("bucket", name, name, _ours(s3, name)) for name in _of(buckets, tenant)]
            return shown + [Seen("user", name, name, _our_user(iam, name)) for name in _of(users, tenant)]

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._make_client(service)
        return self._clients[service]

    def _make_client(self, service: str) -> Any:
        return _boto3.Session().client(
            service,
            endpoint_url=f"http://{self.upstream.host}:{self.upstream.port}",
            region_name=REGION,
            aws_access_key_id=self._operator.access_key,
            aws_secret_access_key=self._operator.secret_key,
            config=_config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=20,
                proxies={},
                s3={"addressing_style": "path"},
            ),
        )


def _of(names: Sequence[str], tenant: str | None) -> list[str]:
    return [name for name in names if tenant is None or faults.mentions(name, tenant)]


def _ours(s3: Any, bucket: str) -> bool:
    """By its tags; an untagged one by its owner, since a create may have been cut short before the tags."""
    try:
        tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    except ClientError:
        tags = {}
    if tags:
        return tags.get("managedBy") == MANAGED_BY
    try:
        return bool(s3.get_bucket_acl(Bucket=bucket)["Owner"].get("ID") == PRODUCT)
    except ClientError:
        return False


def _our_user(iam: Any, user: str) -> bool:
    """By its tags; an untagged one by its name, which ends in a tenant's id."""
    try:
        tags = {tag["Key"]: tag["Value"] for tag in iam.list_user_tags(UserName=user)["Tags"]}
    except ClientError:
        tags = {}
    _, _, tenant_id = user.partition(".")
    return tags.get("managedBy") == MANAGED_BY if tags else len(tenant_id) == 32


class _Connection:
    """One client and the connection to the server that was made for it."""

    def __init__(
        self,
        proxy: S3Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._reader, self._writer = client
        self._server_reader, self._server_writer = server
        self._muted = False
        self._answered = asyncio.Event()

    async def serve(self) -> None:
        answers = asyncio.create_task(self._pass_answers())
        try:
            while head := await self._head():
                if self._proxy.idle:
                    await self._pass_on(head)
                elif not await self._handle(await self._whole(head)):
                    return
        finally:
            answers.cancel()
            self._server_writer.close()

    async def _pass_answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._server_reader.read(CHUNK):
                self._answered.set()
                if not self._muted:
                    self._writer.write(data)
                    await self._writer.drain()
        self._answered.set()
        if not self._muted:
            self._writer.close()

    async def _head(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return b""

    async def _pass_on(self, head: bytes) -> None:
        """The quick way: nothing is kept, nothing is understood but where the request ends."""
        self._server_writer.write(head)
        left = length(head)
        if left is None:
            chunk = b""
            while not chunk or not is_last(chunk):
                chunk = await read_chunk(self._reader)
                self._server_writer.write(chunk)
                await self._server_writer.drain()
            return
        while left:
            data = await self._reader.read(min(left, CHUNK))
            if not data:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(data)
            self._server_writer.write(data)
            await self._server_writer.drain()

    async def _whole(self, head: bytes) -> Request:
        if waits_for_a_word(head):
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await self._writer.drain()
            head = without_expect(head)
        size = length(head)
        if size is not None:
            return Request(head, await self._reader.readexactly(size))
        body = bytearray()
        while True:
            chunk = await read_chunk(self._reader)
            body += chunk
            if is_last(chunk):
                return Request(head, bytes(body))

    async def _handle(self, request: Request) -> bool:
        """Carry out one request, or let it go wrong; False when the connection is of no use any more."""
        fault = self._proxy.switch.take(request.action, request.text)
        if fault is None or fault.mode is Mode.SLOW:
            await asyncio.sleep(SLOW if fault else 0)
            await self._send(request)
            self._proxy.late.looked((request.action,), request.text)
            return True
        await self._go_wrong(fault, request)
        return False

    async def _send(self, request: Request) -> None:
        self._answered.clear()
        self._server_writer.write(request.head + request.body)
        await self._server_writer.drain()

    async def _go_wrong(self, fault: Fault, request: Request) -> None:
        self._muted = True
        match fault.mode:
            case Mode.REFUSE:
                reset(self._writer)
            case Mode.TIMEOUT_BEFORE:
                await self._hang()
            case Mode.TIMEOUT_AFTER:
                await self._send(request)
                await self._hang()
                await self._effect()
            case Mode.LATE_EFFECT:
                late = Late(fault, request.action, lambda: self._carry_out(request))
                self._proxy.late.hold(late)
                await self._hang()
                late.left = True
            case Mode.HALF_DONE:
                await self._send(request)
                await self._effect()
                await self._answer(fault.mode, request)
            case _:
                await self._answer(fault.mode, request)

    async def _hang(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_HANG):
                await until_gone(self._reader)

    async def _effect(self) -> None:
        """Wait until the server has answered: it stops what it does for a connection that is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_EFFECT):
                await self._answered.wait()

    async def _carry_out(self, request: Request) -> None:
        """Send the request on a connection of its own, long after its client has gone."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LONGEST_EFFECT):
                reader, writer = await self._proxy.connect()
                writer.write(request.head + request.body)
                await reader.read(CHUNK)
                writer.close()

    async def _answer(self, mode: Mode, request: Request) -> None:
        status, code, message = _ANSWERS[mode]
        error = f"<Code>{code}</Code><Message>{message}</Message>"
        if request.iam:
            xml = (
                f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error><RequestId>fault</RequestId></ErrorResponse>"
            )
        else:
            resource = escape(request.target.partition("?")[0])
            xml = f"<Error>{error}<Resource>{resource}</Resource><RequestId>fault</RequestId></Error>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode()
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/xml", f"Content-Length: {len(body)}"]
        lines += ["Retry-After: 1"] if mode is Mode.RATE_LIMITED else []
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode()
        self._writer.write(head if request.method == "HEAD" else head + body)
        await self._writer.drain()
