"""`docs/settings.md`, made from the class `Settings`: names, defaults, and the words below each field."""

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tenant_pipelines import settings
from tenant_pipelines.domain.retries import RETRIES, Retries

HEAD = """\
# Settings

Made from `tenant_pipelines/settings.py` by `make docs`; change it there.

A setting is taken from the first of these places that has it: the environment, `.env`, `.local/settings.env` (which
`make up` writes for the local stack), and a file of the variable's name in small letters in the folder that
`TENANT_PIPELINES_SECRETS_DIR` names. Times are in seconds. Lists and mappings are JSON. *Required* means that there is
no default; a process that misses one ends at once and names all that are missing or wrong, without their values.
"""

RETRY_HEAD = """
## Retries

One setting for each number: `retry_GROUP_attempts`, `retry_GROUP_first_wait`, `retry_GROUP_longest_wait`,
`retry_GROUP_one_attempt`, `retry_GROUP_all_attempts`, as the variable `TENANT_PIPELINES_RETRY_DNS_ATTEMPTS`. Each wait
is twice the one before. Only errors that a system answered count as attempts; outages are retried until the time for
all attempts is over.

| group | attempts | first wait | longest wait | one attempt | all attempts |
|---|---|---|---|---|---|
"""

TAIL = """
## Beside the settings

| variable | meaning |
|---|---|
| `TENANT_PIPELINES_SECRETS_DIR` | A folder with a file for each secret. |
| `TENANT_PIPELINES_PORT_OFFSET` | Added to every port of the local stack. |
| `DAGSTER_*` | Dagster's own; `dagster_home/dagster.yaml` names them, `.local/env` has those of the local stack. |
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What the source says of a field: the heading it stands under, and the words below it."""

    heading: str
    meaning: str


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    heading = ""
    for name, written in _written().items():
        if written.heading != heading:
            heading = written.heading
            parts.append(f"\n## {heading}\n\n| setting | variable | default | meaning |\n|---|---|---|---|\n")
        field = settings.Settings.model_fields[name]
        variable = f"{settings.PREFIX}{name.upper()}"
        parts.append(f"| `{name}` | `{variable}` | {_default(field)} | {written.meaning} |\n")
    return "".join([*parts, RETRY_HEAD, *_retry_rows(), TAIL])


def _written() -> Mapping[str, Written]:
    """Every field of the class in its order, with its heading (a comment) and its docstring."""
    source = inspect.getsource(settings.Settings)
    headings = {
        number: match[1]
        for number, line in enumerate(source.splitlines(), 1)
        if (match := re.match(r" {4}# (.+)", line))
    }
    body = _body(source)
    return {name: Written(_above(headings, line), meaning) for name, line, meaning in _fields(body)}


def _body(source: str) -> list[ast.stmt]:
    declared = ast.parse(source).body[0]
    if not isinstance(declared, ast.ClassDef):
        raise TypeError("Settings is not a class")
    return declared.body


def _fields(body: list[ast.stmt]) -> Iterator[tuple[str, int, str]]:
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.lineno, _words(after)


def _words(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split()).replace("|", "\\|")
        case _:
            return ""


def _above(headings: Mapping[int, str], line: int) -> str:
    return headings[max(number for number in headings if number < line)]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*, a secret" if field.annotation is SecretStr else "*required*"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None or value == frozenset():
        return "none"
    return f"`{value if isinstance(value, str) else json.dumps(_plain(value))}`"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a default is
    match value:
        case BaseModel():
            return value.model_dump()
        case Mapping():
            return {_plain(key): _plain(entry) for key, entry in value.items()}
        case Enum():
            return value.value
        case float() if value.is_integer():
            return int(value)
        case tuple():
            return [_plain(entry) for entry in value]
        case _:
            return value


def _retry_rows() -> list[str]:
    return [f"| {group} | {' | '.join(_numbers(policy))} |\n" for group, policy in RETRIES.items()]


def _numbers(policy: Retries) -> list[str]:
    waits = (policy.first_wait, policy.longest_wait, policy.one_attempt, policy.all_attempts)
    return [str(policy.attempts), *(f"{seconds:g}" for seconds in waits)]
