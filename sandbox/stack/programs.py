"""The programs of the stack, as the supervisor is to run them, and the parts that people know them by."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import postgres, seaweed
from sandbox.seaweed import Key, Seaweed
from sandbox.stack.credentials import Credentials
from sandbox.stack.folder import Folder
from sandbox.stack.generated import SERVICES, part_exists
from sandbox.stack.names import CODE_SOCKET, DRAIN, LOCATION
from sandbox.stack.ports import HOST, Ports
from sandbox.stack.supervision import Program

DEFINITIONS = "tenant_pipelines.definitions"

POSTGRES = "postgres"
S3 = "s3"
STAND_INS = "stand-ins"
CODE = "dagster-code"
WEB = "dagster-web"
DAEMON = "dagster-daemon"
WORKERS = "workers"
REST = "rest"

PRODUCT = (REST, WORKERS, DAEMON, WEB, CODE)
"""What is ours, and has to end before what it builds on."""

PARTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(SERVICES, (STAND_INS,)),
    "postgres": (POSTGRES,),
    "s3": (S3,),
    "dagster": (WEB, CODE),
    "rest": (REST,),
    "worker": (WORKERS, DAEMON),
}
"""The programs behind each part of the contract. A stand-in shares its program with the others."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a stack is made of.

    Args:
        definitions: the module with Dagster's definitions.
        product: whether Dagster and our doors are part of it, or the outside systems only.
    """

    definitions: str = DEFINITIONS
    product: bool = True

    @property
    def rest(self) -> bool:
        """Whether the REST API is part of it."""
        return self.product and part_exists("tenant_pipelines.rest.__main__")


def programs(folder: Folder, ports: Ports, made: Credentials, choice: Choice) -> list[Program]:
    """All of them."""
    found = [
        _postgres(folder, ports),
        _s3(folder, ports, made),
        Program(STAND_INS, [sys.executable, "-m", "sandbox.serve", str(folder.home)], patience=5),
    ]
    if choice.product:
        found += [_code(folder, choice), _web(folder, ports), _daemon(folder), _workers(folder, choice)]
    if choice.rest:
        found.append(Program(REST, [sys.executable, "-m", "tenant_pipelines.rest"], environment=folder.dagster_env))
    return found


def postgres_place(folder: Folder) -> Path:
    """The folder above PostgreSQL's data."""
    return postgres.place(folder.local / "postgres")


def _postgres(folder: Folder, ports: Ports) -> Program:
    user = postgres.account()
    return Program(
        POSTGRES,
        postgres.postgres_command(postgres_place(folder) / "data", ports["postgres_server"]),
        user=None if user is None else user.pw_name,
        stop="INT",
        stop_group=False,
    )


def _s3(folder: Folder, ports: Ports, made: Credentials) -> Program:
    server = Seaweed(
        folder.s3.absolute(),
        ports["s3_server"],
        ports["s3_server_part_0"],
        operator=Key(made.s3_operator_access_key, made.s3_operator_secret_key),
        product=Key(made.s3_access_key, made.s3_secret_key),
    )
    return Program(S3, seaweed.command(server))


def _code(folder: Folder, choice: Choice) -> Program:
    command = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(folder.sockets / CODE_SOCKET)]
    command += ["--module-name", choice.definitions, "--location-name", LOCATION]
    command += ["--use-python-environment-entry-point", "--log-level", "warning"]
    return Program(CODE, command, environment=folder.dagster_env)


def _web(folder: Folder, ports: Ports) -> Program:
    command = [sys.executable, "-m", "dagster_webserver", "--host", HOST, "--port", str(ports["dagster"])]
    command += ["--workspace", str(folder.workspace), "--dagster-log-level", "warning"]
    return Program(WEB, command, environment=folder.dagster_env)


def _daemon(folder: Folder) -> Program:
    command = [sys.executable, "-m", "dagster._daemon", "run", "--workspace", str(folder.workspace)]
    return Program(DAEMON, command, environment=folder.dagster_env)


def _workers(folder: Folder, choice: Choice) -> Program:
    """The pool ends its workers by itself, in good order: a signal to all of them at once would cancel their runs."""
    command = [sys.executable, "-m", "tenant_pipelines.launcher", "--definitions", choice.definitions]
    return Program(WORKERS, command, environment=folder.dagster_env, stop_group=False, patience=DRAIN + 8)
