"""What carries out the stand-in's runs when no Terraform is installed: knows modules of `terraform_data` resources.

It reads and writes Terraform's own state format, so that a real Terraform can take over where it stopped.
Source: Terraform's documentation of `terraform_data`, and state files that Terraform 1.11 writes for it.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.terraform.language import Block, NotUnderstood, Reference, Template, merged
from sandbox.terraform.work import Applied, Counts, Job, Planned, quota_message

_PROVIDER = 'provider["terraform.io/builtin/terraform"]'
_DESCRIBED = {"add": "will be created", "change": "will be updated in-place", "destroy": "will be destroyed"}


@dataclass(slots=True)
class _Resource:
    module: str
    name: str
    id: str
    input: Any
    needs: list[str]

    @property
    def address(self) -> str:
        return f"{self.module}.terraform_data.{self.name}" if self.module else f"terraform_data.{self.name}"


@dataclass(slots=True)
class _Outcome:
    resources: dict[str, _Resource] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


class OwnPlanner:
    """Plans and applies without any other program."""

    async def plan(self, job: Job) -> Planned:
        """What the configuration would change."""
        try:
            before = _read(job.state)
            changes = _changes(before, _wanted(job, before))
        except NotUnderstood as error:
            return Planned(log=f"Error: {error}", failed=True)
        lines = [f"  # {address} {_DESCRIBED[change]}" for address, change in sorted(changes.items())]
        count = _count(changes)
        summary = f"Plan: {count[0]} to add, {count[1]} to change, {count[2]} to destroy."
        lines.append(summary if changes else "No changes. Your infrastructure matches the configuration.")
        return Planned("\n".join(lines), count)

    async def apply(self, job: Job) -> Applied:
        """Carry it out; half of it when the job says so."""
        try:
            before = _read(job.state)
            after = _wanted(job, before)
        except NotUnderstood as error:
            return Applied(log=f"Error: {error}", state=None, failed=True)
        changes = _changes(before, after)
        if job.half:
            return _half(job, before, after, changes)
        done = "Creation" if not job.destroy else "Destruction"
        lines = [f"{address}: {done} complete" for address in sorted(changes)]
        count = _count(changes)
        lines.append(f"Apply complete! Resources: {count[0]} added, {count[1]} changed, {count[2]} destroyed.")
        return Applied("\n".join(lines), _written(after, job), count)

    def forget(self, run_id: str) -> None:
        """Nothing is kept."""


def _count(changes: Mapping[str, str]) -> Counts:
    kinds = list(changes.values())
    return kinds.count("add"), kinds.count("change"), kinds.count("destroy")


def _half(job: Job, before: _Outcome, after: _Outcome, changes: Mapping[str, str]) -> Applied:
    """The first half of the resources, with what they need, or without them in a destroy; then the quota is used up."""
    some = sorted(changes)[: len(changes) // 2]
    done = _with_needs(after.resources, some) if not job.destroy else set(some)
    kept = {a: r for a, r in before.resources.items() if a not in done}
    made = {a: r for a, r in after.resources.items() if a in done}
    log = "\n".join([f"{address}: complete" for address in sorted(done)] + [quota_message()])
    return Applied(log, _written(_Outcome(kept | made), job), failed=True)


def _with_needs(resources: Mapping[str, _Resource], some: list[str]) -> set[str]:
    found: set[str] = set()
    todo = list(some)
    while todo:
        address = todo.pop()
        if address in resources and address not in found:
            found.add(address)
            todo += resources[address].needs
    return found


def _changes(before: _Outcome, after: _Outcome) -> dict[str, str]:
    changes: dict[str, str] = {}
    for address in before.resources.keys() | after.resources.keys():
        old, new = before.resources.get(address), after.resources.get(address)
        if old is None:
            changes[address] = "add"
        elif new is None:
            changes[address] = "destroy"
        elif old.input != new.input:
            changes[address] = "change"
    return changes


def _wanted(job: Job, before: _Outcome) -> _Outcome:
    outcome = _Outcome()
    if not job.destroy:
        root = _Module(job.files, "", dict(job.variables), before, outcome)
        outcome.outputs = root.outputs()
    return outcome


class _Module:
    """One directory of the configuration with its arguments; making it makes its resources."""

    def __init__(
        self, files: Mapping[str, str], address: str, values: dict[str, Any], before: _Outcome, outcome: _Outcome
    ) -> None:
        here = {path: text for path, text in files.items() if "/" not in path and path.endswith(".tf")}
        self._content = merged(here)
        self._address = address
        self._before = before
        self._outcome = outcome
        self._making: list[str] = []
        self._variables = {b.labels[0]: _value_of(b, values) for b in self._content.each("variable")}
        self._resources = {b.labels[1]: b for b in self._content.each("resource") if _is_known(b)}
        self._modules = {b.labels[0]: self._module(b, files) for b in self._content.each("module")}
        for name in sorted(self._resources):
            self._resource(name)

    def outputs(self) -> dict[str, Any]:
        return {b.labels[0]: self._value(b.attributes.get("value")) for b in self._content.each("output")}

    def _module(self, block: Block, files: Mapping[str, str]) -> "_Module":
        source = block.attributes.get("source")
        if not isinstance(source, str) or not source.startswith("./"):
            raise NotUnderstood(f"module source {source!r} needs a real terraform")
        folder = source.removeprefix("./").rstrip("/") + "/"
        inside = {path.removeprefix(folder): text for path, text in files.items() if path.startswith(folder)}
        given = {k: self._value(v) for k, v in block.attributes.items() if k not in {"source", "version"}}
        address = ".".join(filter(None, (self._address, f"module.{block.labels[0]}")))
        return _Module(inside, address, given, self._before, self._outcome)

    def _resource(self, name: str) -> _Resource:
        new = _Resource(self._address, name, "", None, [])
        if new.address in self._outcome.resources:
            return self._outcome.resources[new.address]
        if name in self._making or name not in self._resources:
            raise NotUnderstood(f"{new.address} is not declared, or refers to itself")
        self._making.append(name)
        wanted = self._resources[name].attributes.get("input")
        old = self._before.resources.get(new.address)
        new.id = old.id if old is not None else str(uuid.uuid4())
        new.input = self._value(wanted)
        new.needs = sorted(
            f"{self._address}.{'.'.join(r.path[:2])}".lstrip(".") for r in _references(wanted) if r.path[0] != "var"
        )
        self._making.remove(name)
        self._outcome.resources[new.address] = new
        return new

    def _value(self, expression: Any) -> Any:
        match expression:
            case Reference(path):
                return self._resolved(path)
            case Template(parts):
                return "".join(str(self._value(part)) for part in parts)
            case dict():
                return {name: self._value(value) for name, value in expression.items()}
            case list():
                return [self._value(value) for value in expression]
        return expression

    def _resolved(self, path: tuple[str, ...]) -> Any:
        found: Any
        match path:
            case ("var", name, *rest) if name in self._variables:
                found = self._variables[name]
            case ("module", name, *rest) if name in self._modules:
                found = self._modules[name].outputs()
            case ("terraform_data", name, *rest):
                resource = self._resource(name)
                found = {"id": resource.id, "input": resource.input, "output": resource.input}
            case _:
                raise NotUnderstood(f"reference {'.'.join(path)} is not understood")
        for step in rest:
            if not isinstance(found, dict) or step not in found:
                raise NotUnderstood(f"reference {'.'.join(path)} leads nowhere")
            found = found[step]
        return found


def _value_of(variable: Block, values: Mapping[str, Any]) -> Any:
    name = variable.labels[0]
    if name not in values and "default" not in variable.attributes:
        raise NotUnderstood(f"No value for required variable {name}")
    return values.get(name, variable.attributes.get("default"))


def _is_known(resource: Block) -> bool:
    if resource.labels[0] != "terraform_data" or resource.attributes.keys() - {"input"} or resource.blocks:
        raise NotUnderstood(f"resource {'.'.join(resource.labels)} needs a real terraform")
    return True


def _references(expression: Any) -> list[Reference]:
    match expression:
        case Reference():
            return [expression]
        case Template(parts):
            return [part for part in parts if isinstance(part, Reference)]
        case dict():
            return [found for value in expression.values() for found in _references(value)]
        case list():
            return [found for value in expression for found in _references(value)]
    return []


def _read(state: Mapping[str, Any] | None) -> _Outcome:
    outcome = _Outcome()
    for entry in (state or {}).get("resources", []):
        if entry["type"] != "terraform_data":
            raise NotUnderstood(f"the state's {entry['type']} needs a real terraform")
        for instance in entry["instances"]:
            attributes = instance["attributes"]
            given = (attributes.get("input") or {}).get("value")
            needs = instance.get("dependencies", [])
            resource = _Resource(entry.get("module", ""), entry["name"], attributes["id"], given, needs)
            outcome.resources[resource.address] = resource
    return outcome


def _written(outcome: _Outcome, job: Job) -> dict[str, Any]:
    before = job.state or {}
    return {
        "version": 4,
        "terraform_version": before.get("terraform_version", "1.4.0"),
        "serial": before.get("serial", 0) + 1,
        "lineage": before.get("lineage") or str(uuid.uuid4()),
        "outputs": {n: {"value": v, "type": _type(v)} for n, v in sorted(outcome.outputs.items())},
        "resources": [_entry(resource) for _, resource in sorted(outcome.resources.items())],
        "check_results": None,
    }


def _entry(resource: _Resource) -> dict[str, Any]:
    dynamic = None if resource.input is None else {"value": resource.input, "type": _type(resource.input)}
    instance = {
        "schema_version": 0,
        "attributes": {"id": resource.id, "input": dynamic, "output": dynamic, "triggers_replace": None},
        "sensitive_attributes": [],
        "dependencies": resource.needs,
    }
    place = {"module": resource.module} if resource.module else {}
    named = {"mode": "managed", "type": "terraform_data", "name": resource.name, "provider": _PROVIDER}
    return place | named | {"instances": [instance]}


def _type(value: Any) -> Any:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return ["tuple", [_type(part) for part in value]]
        case dict():
            return ["object", {name: _type(part) for name, part in value.items()}]
    raise NotUnderstood(f"a value of {json.dumps(value)} cannot be kept in the state")
