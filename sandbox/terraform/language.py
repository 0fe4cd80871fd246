"""The part of Terraform's language that a tenant's configuration is written in: blocks, attributes, plain expressions.

No operators, functions, conditions or loops: whoever needs them has a real Terraform.
Source: Terraform language, Syntax Configuration.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>[\s,]+|\#[^\n]*|//[^\n]*)|(?P<name>[A-Za-z_][\w-]*)|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*")|(?P<mark>[{}\[\].=])"""
)
_PART = re.compile(r"\$\{\s*([A-Za-z_][\w.-]*)\s*\}")
_WORDS = {"true": True, "false": False, "null": None}


class NotUnderstood(ValueError):
    """The text is beyond this part of the language."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that stands elsewhere (`var.tenant_key`)."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A text with references in it."""

    parts: tuple["str | Reference", ...]


Expression = Any
"""A constant, Reference, Template, or a dict or list of expressions."""


@dataclass(slots=True)
class Block:
    """`kind "label" { ... }`, or a whole file."""

    kind: str = ""
    labels: tuple[str, ...] = ()
    attributes: dict[str, Expression] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def each(self, kind: str) -> Iterator["Block"]:
        """The blocks of a kind, in the order written."""
        return (block for block in self.blocks if block.kind == kind)


def parse(text: str) -> Block:
    """The file's blocks. Raises: NotUnderstood."""
    reader = _Reader(list(_tokens(text)))
    return reader.body(Block(), closed_by=None)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            line = text.count("\n", 0, at) + 1
            raise NotUnderstood(f"line {line}: {text[at : at + 20].splitlines()[0]!r} is not understood")
        at = found.end()
        if found.lastgroup != "space":
            yield str(found.lastgroup), found.group()


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def body(self, block: Block, closed_by: str | None) -> Block:
        while self._peek()[1] != closed_by:
            kind, name = self._take()
            if kind == "end" and closed_by is None:
                return block
            if kind != "name":
                raise NotUnderstood(f"{name!r} where a name is wanted")
            if self._peek()[1] == "=":
                self._take()
                block.attributes[name] = self._expression()
            else:
                block.blocks.append(self._block(name))
        self._take()
        return block

    def _block(self, kind: str) -> Block:
        labels: list[str] = []
        while self._peek()[0] in {"text", "name"}:
            labels.append(self._take()[1].strip('"'))
        self._want("{")
        return self.body(Block(kind, tuple(labels)), closed_by="}")

    def _expression(self) -> Expression:
        kind, text = self._take()
        match kind, text:
            case "text", _:
                return _template(text)
            case "number", _:
                return float(text) if "." in text else int(text)
            case "name", "true" | "false" | "null":
                return _WORDS[text]
            case "name", _:
                return Reference(self._path(text))
            case _, "{":
                return self._object()
            case _, "[":
                return self._list()
        raise NotUnderstood(f"{text!r} where a value is wanted")

    def _path(self, first: str) -> tuple[str, ...]:
        path = [first]
        while self._peek()[1] == ".":
            self._take()
            path.append(self._take()[1])
        return tuple(path)

    def _object(self) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        while self._peek()[1] != "}":
            name = self._take()[1].strip('"')
            self._want("=")
            found[name] = self._expression()
        self._take()
        return found

    def _list(self) -> list[Expression]:
        found: list[Expression] = []
        while self._peek()[1] != "]":
            found.append(self._expression())
        self._take()
        return found

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        if self._at > len(self._tokens) + 1:
            raise NotUnderstood("the file ends in the middle of a block")
        return token

    def _want(self, mark: str) -> None:
        if self._take()[1] != mark:
            raise NotUnderstood(f"{mark!r} is missing")


def _template(quoted: str) -> Expression:
    text = re.sub(r'\\(["\\nt])', lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), quoted[1:-1])
    parts: list[str | Reference] = []
    at = 0
    for found in _PART.finditer(text):
        parts += [text[at : found.start()], Reference(tuple(found[1].split(".")))]
        at = found.end()
    parts.append(text[at:])
    rest = "".join(part for part in parts if isinstance(part, str))
    if "${" in rest or "%{" in rest:
        raise NotUnderstood(f"the template {quoted} is not understood")
    return text if len(parts) == 1 else Template(tuple(parts))


def merged(files: Mapping[str, str]) -> Block:
    """All files of one directory as one, as Terraform reads them. Raises: NotUnderstood, naming the file."""
    whole = Block()
    for name, text in sorted(files.items()):
        try:
            whole.blocks += parse(text).blocks
        except NotUnderstood as error:
            raise NotUnderstood(f"{name}: {error}") from error
    return whole
