"""The requests to S3 and IAM: one at a time, each with the time-out and the fence of its call, never repeated.

Time-outs: boto3 fixes them per client, so there is one client for each step of `TIMEOUTS`, made when first needed; a
request takes the longest step that is not longer than the time its call has left. Clients may be shared by threads,
making them may not, hence the lock. The environment, profiles and proxies of the machine are not looked at.
"""

import os
import re
import threading
from collections.abc import Collection
from typing import Any, Literal

import boto3
import botocore.config
import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from tenant_pipelines.adapters.s3.config import S3Config
from tenant_pipelines.adapters.s3.errors import code_of, failure
from tenant_pipelines.domain.call import Call

Service = Literal["s3", "iam"]
Answer = dict[str, Any]

TIMEOUTS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds."""

LONGEST_CONNECT = 5.0
"""Seconds to wait for a connection."""

_boto3: Any = boto3  # boto3 and botocore carry no types
_config: Any = botocore.config
_session: Any = botocore.session

_NOTHING_OF_THE_MACHINE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
"""Settings of botocore as (name in the profile, variable, default, conversion): only the default is left."""

_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")


class Refusal(Exception):
    """The server said no with a code that the caller asked to be told about; the boto3 error is its cause."""

    def __init__(self, code: str, cause: ClientError) -> None:
        super().__init__(code)
        self.code = code
        self.cause = cause


def session() -> Any:  # noqa: ANN401
    """What clients are made from; shared, because it reads the descriptions of the services only once."""
    return _boto3.Session(botocore_session=_session.Session(session_vars=_NOTHING_OF_THE_MACHINE))


class Connection:
    """One service of one endpoint.

    Args:
        making: held while a client is made; the same for all that share the session.
    """

    def __init__(self, config: S3Config, service: Service, session: Any, making: threading.Lock) -> None:  # noqa: ANN401
        self._config = config
        self._session = session
        self._making = making
        self._service = service
        self._endpoint = config.iam_endpoint or config.endpoint if service == "iam" else config.endpoint
        self._clients: dict[float, Any] = {}

    def read(self, operation: str, call: Call, *, expect: Collection[str] = (), **values: Any) -> Answer:  # noqa: ANN401
        """Ask for something.

        Args:
            operation: boto3's name of the action, as get_bucket_tagging.
            expect: error codes to be raised as Refusal.
        """
        return self._ask(operation, call.seconds_left(), expect, values, wrote=False)

    def write(self, operation: str, call: Call, *, expect: Collection[str] = (), **values: Any) -> Answer:  # noqa: ANN401
        """Change something; the fence is asked first."""
        return self._ask(operation, call.before_write(), expect, values, wrote=True)

    def _ask(
        self, operation: str, seconds: float, expect: Collection[str], values: dict[str, Any], *, wrote: bool
    ) -> Answer:
        client = self._client(max((step for step in TIMEOUTS if step <= seconds), default=TIMEOUTS[0]))
        try:
            answer: Answer = getattr(client, operation)(**values)
        except (ClientError, BotoCoreError, HTTPClientError, OSError) as error:
            if isinstance(error, ClientError) and code_of(error) in expect:
                raise Refusal(code_of(error), error) from error
            raise failure(error, _action(client, operation), self._endpoint, wrote=wrote) from error
        return answer

    def _client(self, timeout: float) -> Any:  # noqa: ANN401
        with self._making:
            if timeout not in self._clients:
                self._clients[timeout] = self._make(timeout)
            return self._clients[timeout]

    def _make(self, timeout: float) -> Any:  # noqa: ANN401
        config = self._config
        client = self._session.client(
            self._service,
            endpoint_url=self._endpoint,
            region_name=config.region,
            aws_access_key_id=config.access_key,
            aws_secret_access_key=config.secret_key,
            config=_config.Config(
                retries={"total_max_attempts": 1},
                connect_timeout=min(timeout, LONGEST_CONNECT),
                read_timeout=timeout,
                proxies={},
                signature_version="v4" if self._service == "iam" else "s3v4",
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if config.path_style else "virtual"},
            ),
        )
        if self._service == "iam":
            client.meta.events.register("response-received.iam", _read_code)
        return client


def _action(client: Any, operation: str) -> str:  # noqa: ANN401
    return str(client.meta.method_to_api_mapping[operation])


def _read_code(parsed_response: Any, response_dict: Any, **_: Any) -> None:  # noqa: ANN401
    """Servers that have S3 and IAM on one port word some of IAM's errors as S3 does, which boto3 cannot read."""
    if parsed_response is None or "Error" in parsed_response or response_dict["status_code"] < 400:
        return
    if (found := _CODE.search(response_dict["body"])) is not None:
        parsed_response["Error"] = {"Code": found.group(1).decode(), "Message": ""}
