"""What is not public in Dagster is used in one module, and is there in the installed release."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "tenant_pipelines" / "runs" / "gateway.py"
PRODUCT = [
    path for part in ("tenant_pipelines", "resources", "sensors") for path in sorted((ROOT / part).rglob("*.py"))
]

SEMI_PUBLIC = {
    "create_run_for_job": {
        "execution_plan",
        "run_id",
        "run_config",
        "tags",
        "root_run_id",
        "parent_run_id",
        "remote_job_origin",
        "job_code_origin",
    },
    "submit_run": {"run_id", "workspace"},
    "get_ref": set[str](),
}
"""Methods of the instance that no documentation lists, and the parameters that we give."""


def _private_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything imported from below an underscore in Dagster."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and _is_private(node.module or ""):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "__name__") for alias in node.names if _is_private(alias.name))


def _is_private(module: str) -> bool:
    package, *rest = module.split(".")
    return package.startswith("dagster") and any(part.startswith("_") for part in rest)


def _called(path: Path) -> Iterator[str]:
    return (node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))


def test_private_modules_of_dagster_are_imported_by_the_gateway_only() -> None:
    assert [path.relative_to(ROOT) for path in PRODUCT if list(_private_imports(path)) and path != GATEWAY] == []


def test_semi_public_methods_are_called_by_the_gateway_only() -> None:
    callers = {path for path in PRODUCT if SEMI_PUBLIC.keys() & set(_called(path))}

    assert callers == {GATEWAY}


@pytest.mark.parametrize(("module", "name"), [*_private_imports(GATEWAY)])
def test_every_private_name_that_the_gateway_imports_exists(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("method", SEMI_PUBLIC)
def test_every_semi_public_method_takes_the_parameters_that_it_is_given(method: str) -> None:
    assert inspect.signature(getattr(DagsterInstance, method)).parameters.keys() >= SEMI_PUBLIC[method]
