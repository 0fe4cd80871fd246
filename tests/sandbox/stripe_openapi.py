"""Holds requests and answers to Stripe's own OpenAPI description (tests/golden/stripe-openapi-subset.json, MIT)."""

import json
import re
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.stripe import form
from sandbox.stripe.refusal import Refusal

GOLDEN = Path(__file__).parent.parent / "golden" / "stripe-openapi-subset.json"
FORM = "application/x-www-form-urlencoded"
Schema = dict[str, Any]


class Description:
    """The endpoints that the description knows, with validators made on demand."""

    @cached_property
    def _golden(self) -> Schema:
        loaded: Schema = json.loads(GOLDEN.read_text())
        return loaded

    @cached_property
    def _components(self) -> Schema:
        return {"schemas": {name: _as_json(schema) for name, schema in self._golden["schemas"].items()}}

    @cache  # noqa: B019 - one description lives as long as the tests
    def knows(self, method: str, path: str) -> str | None:
        """The path as the description writes it, with its placeholder; None where it has no such call."""
        for known, calls in self._golden["paths"].items():
            pattern = re.sub(r"\{[^}]+\}", "[^/]+", known)
            if re.fullmatch(pattern, path) and method.lower() in calls and ("{" in known or known == path):
                return str(known)
        return None

    def request_problems(self, method: str, path: str, parameters: Schema) -> list[str]:
        """What the description forbids of these parameters; nested ones it does not name are forbidden too."""
        known = self.knows(method, path)
        return [] if known is None else _problems(self._request(method, known), parameters)

    def answer_problems(self, method: str, path: str, status: int, answer: Any) -> list[str]:
        """What the description forbids of this answer."""
        known = self.knows(method, path)
        return (
            []
            if known is None
            else _problems(self._answer(method, known, "200" if status == 200 else "default"), answer)
        )

    def parameter_names(self, method: str, path: str) -> set[str]:
        """The names of the parameters on the first level."""
        return set(self._parameters(method, path)["properties"])

    def _parameters(self, method: str, path: str) -> Schema:
        call = self._golden["paths"][path][method.lower()]
        body = call.get("requestBody", {}).get("content", {}).get(FORM, {}).get("schema", {})
        query = [one for one in call.get("parameters", []) if one["in"] == "query"]
        return {
            "type": "object",
            "properties": body.get("properties", {}) | {one["name"]: one["schema"] for one in query},
            "required": [*body.get("required", []), *(one["name"] for one in query if one.get("required"))],
        }

    @cache  # noqa: B019
    def _request(self, method: str, known: str) -> Validator:
        return Draft202012Validator(_as_form(self._parameters(method, known)))

    @cache  # noqa: B019
    def _answer(self, method: str, known: str, status: str) -> Validator:
        schema = self._golden["paths"][known][method.lower()]["responses"][status]["content"]["application/json"][
            "schema"
        ]
        return Draft202012Validator({**_as_json(schema), "components": self._components})


DESCRIPTION = Description()


class Witness:
    """Stands before an application, hands everything on, and keeps what broke the description."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.problems: list[str] = []
        self.exchanges: list[tuple[str, str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "/_sandbox/" in scope["path"]:
            await self._app(scope, receive, send)
            return
        asked: list[bytes] = []
        answered: list[bytes] = []
        status = 0

        async def listening() -> Message:
            message = await receive()
            asked.append(message.get("body", b""))
            return message

        async def speaking(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answered.append(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                # Before it is sent: whoever has the answer may look at what was kept.
                self._judge(scope, b"".join(asked), status, b"".join(answered))
            await send(message)

        await self._app(scope, listening, speaking)

    def _judge(self, scope: Scope, body: bytes, status: int, answer: bytes) -> None:
        method, path = scope["method"], scope["path"]
        self.exchanges.append((method, path, status))
        found = DESCRIPTION.answer_problems(method, path, status, json.loads(answer))
        if status == 200:  # what was refused may well have been wrong
            found += DESCRIPTION.request_problems(method, path, _parsed(scope["query_string"], body))
        self.problems += [f"{method} {path} {status}: {problem}" for problem in found]


def _parsed(query: bytes, body: bytes) -> Schema:
    try:
        return form.parse("&".join(part.decode() for part in (query, body) if part))
    except Refusal:
        return {}


def _problems(validator: Validator, value: Any) -> list[str]:
    errors = validator.iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]


def _as_json(schema: Any) -> Any:
    """OpenAPI's `nullable` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_as_json(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _as_json(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [inner, {"type": "null"}]} if schema.get("nullable") is True else inner


_LEAVES: dict[str, Schema] = {
    "integer": {"type": "string", "pattern": r"^-?\d+$"},
    "number": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    "boolean": {"enum": ["true", "false"]},
}


def _as_form(schema: Schema) -> Schema:
    """The schema as it holds in a form: numbers are texts, lists are mappings by index, mappings are closed."""
    if "anyOf" in schema:
        return {"anyOf": [_as_form(one) for one in schema["anyOf"]]}
    match schema.get("type"):
        case "array":
            items = {"propertyNames": {"pattern": r"^\d+$"}, "additionalProperties": _as_form(schema["items"])}
            return {"type": "object", **items}
        case "object":
            inner = {name: _as_form(one) for name, one in schema.get("properties", {}).items()}
            free = schema.get("additionalProperties") or False
            others = _as_form(free) if isinstance(free, dict) else free
            required = schema.get("required", [])
            return {"type": "object", "properties": inner, "required": required, "additionalProperties": others}
        case leaf:
            kept = {key: value for key, value in schema.items() if key in ("type", "enum", "maxLength", "pattern")}
            return _LEAVES.get(leaf or "", kept)
