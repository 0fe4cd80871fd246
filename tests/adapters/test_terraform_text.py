"""What the Terraform adapter writes and reads: configurations, logs, states. No server is needed."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.terraform.work import unpacked
from tenant_pipelines.adapters.terraform.configuration import (
    OUTPUTS,
    Backend,
    TenantModule,
    UnusableName,
    archive,
    files,
    written_out,
)
from tenant_pipelines.adapters.terraform.failures import of_status
from tenant_pipelines.adapters.terraform.logs import LINES, first_error, masked, tail
from tenant_pipelines.adapters.terraform.state import parsed
from tenant_pipelines.domain.failures import Answered, LockHeld, Outage, PermissionDenied, Validation

TERRAFORM = shutil.which("terraform") or shutil.which("tofu")
VALUES = {"tenant_id": "6f2b7c3e-1d4a-4c55-9b1e-0a6f5d8c7b11", "tenant_key": "acme", "tier": "silo", "region": "eu"}


def test_the_root_is_one_module_of_the_tenant_with_every_variable() -> None:
    written = files("acme", VALUES)

    assert written["main.tf"].count("module ") == 1
    assert 'module "tenant_acme" {' in written["main.tf"]
    for name in VALUES:
        assert f"{name} " in written["main.tf"]
        assert f'variable "{name}" {{' in written["variables.tf"]
        assert f'variable "{name}" {{' in written["tenant/variables.tf"]
    for name in OUTPUTS:
        assert f"module.tenant_acme.{name}" in written["outputs.tf"]


def test_a_module_of_ones_own_takes_the_place_of_the_built_in_one() -> None:
    own = TenantModule("app.terraform.io/acme/tenant/aws", "~> 2.1", ("vpc_id",))

    written = files("acme", VALUES, own)

    assert sorted(written) == ["main.tf", "outputs.tf", "variables.tf"]
    assert '"app.terraform.io/acme/tenant/aws"' in written["main.tf"]
    assert '"~> 2.1"' in written["main.tf"]
    assert written["outputs.tf"].count("output ") == 1


@pytest.mark.parametrize("name", ["", "1st", 'a" {', "with space", "a.b"])
def test_a_name_that_terraform_does_not_accept_is_refused(name: str) -> None:
    with pytest.raises(UnusableName):
        files("acme", [name])
    with pytest.raises(UnusableName):
        files("acme", [], TenantModule(outputs=(name,)))


@pytest.mark.parametrize("key", ["", "Acme", "a-b", 'x" {}'])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(UnusableName):
        files(key, [])


def test_the_archive_holds_the_files_and_is_the_same_every_time() -> None:
    written = files("acme", VALUES)

    packed = archive(written)

    assert packed == archive(dict(reversed(written.items())))
    assert unpacked(packed) == written
    assert gzip.decompress(packed)


def test_an_operators_directory_works_on_the_workspace_or_by_itself() -> None:
    backend = Backend("app.terraform.io", "platform", "tenant-acme")

    with_backend, alone = written_out("acme", VALUES, backend=backend), written_out("acme", VALUES)

    assert '"tenant-acme"' in with_backend["cloud.tf"]
    assert not any(VALUES["tenant_id"] in text for text in with_backend.values())
    assert json.loads(alone["tenant.auto.tfvars.json"]) == VALUES
    assert "cloud.tf" not in alone


@pytest.mark.skipif(TERRAFORM is None, reason="no terraform and no tofu on PATH")
def test_a_real_terraform_applies_and_destroys_the_module_by_its_name(tmp_path: Path) -> None:
    for path, text in written_out("acme", VALUES).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    run(tmp_path, "init")
    assert run(tmp_path, "fmt", "-check", "-recursive") == ""
    run(tmp_path, "apply", "-auto-approve")
    outputs = json.loads(run(tmp_path, "output", "-json"))
    state = parsed((tmp_path / "terraform.tfstate").read_bytes())
    run(tmp_path, "destroy", "-auto-approve", "-target=module.tenant_acme")

    assert sorted(outputs) == sorted(OUTPUTS)
    assert state.outputs == {name: output["value"] for name, output in outputs.items()}
    assert len(state.resources) == 5
    assert all(address.startswith("module.tenant_acme.terraform_data.") for address in state.resources)
    assert run(tmp_path, "state", "list") == ""


def run(place: Path, *arguments: str) -> str:
    quiet = {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "HOME": str(place)}
    program = [str(TERRAFORM), *arguments] + (["-no-color"] if arguments[0] not in {"fmt", "state", "output"} else [])
    done = subprocess.run(
        program, cwd=place, env={"PATH": os.environ["PATH"]} | quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('password = "hunter2 and more"', "password = ***"),
        ('  + db_password : "x\\"y"', "  + db_password : ***"),
        ('"api_key": "abc",', '"api_key": ***,'),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG", "AWS_SECRET_ACCESS_KEY=***"),
        ("~ admin_token -> newvalue", "~ admin_token -> ***"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer ***"),
        ("postgres://user:pa55@db:5432/x", "postgres://user:***@db:5432/x"),
        ("found AKIAIOSFODNN7EXAMPLE here", "found *** here"),
        ("our own s3cr3t value", "our own *** value"),
        ("module.tenant_acme.terraform_data.bucket: Creation complete", None),
    ],
)
def test_what_looks_like_a_secret_is_masked(line: str, shown: str | None) -> None:
    assert masked(line, ["s3cr3t"]) == (shown or line)


def test_the_tail_is_bounded_and_plain() -> None:
    lines = ["\x02start", "", "\x1b[31mError: \x1b[0mno quota\x03", "-----BEGIN KEY-----", "abc", "-----END KEY-----"]

    assert tail(lines) == ["start", "Error: no quota", "*** (PEM)"]
    assert tail(map(str, range(1000))) == [str(number) for number in range(1000 - LINES, 1000)]
    assert len(tail(["x" * 100_000])[0]) <= 500


@pytest.mark.timeout(10)
@pytest.mark.parametrize("line", ["x" * 50_000, "token" * 10_000, 'secret = "' + "\\" * 50_000, "-----" * 10_000])
def test_no_line_takes_long_to_mask(line: str) -> None:
    assert len(tail([line] * 20)) == 20


def test_the_first_error_is_found_in_a_box() -> None:
    assert first_error(["planning", "╷", "│ Error: no quota", "│ Error: other"]) == "Error: no quota"
    assert first_error(["planning"]) == ""


def test_a_state_tells_ids_and_hides_what_is_sensitive() -> None:
    instances: list[dict[str, Any]] = [
        {"attributes": {"id": "i-1"}, "index_key": 0},
        {"attributes": {"id": "i-2"}, "index_key": "a"},
        {"attributes": {"id": "secret"}, "index_key": "b", "sensitive_attributes": [[{"value": "id"}]]},
        {"attributes": None, "index_key": "c", "deposed": "00000001"},
    ]
    document = {
        "version": 4,
        "outputs": {
            "name": {"value": "x", "type": "string"},
            "ports": {"value": [1, 2], "type": ["list", "number"]},
            "password": {"value": "hunter2", "type": "string", "sensitive": True},
        },
        "resources": [
            {"mode": "managed", "type": "aws_vpc", "name": "it", "module": "module.m", "instances": instances},
            {"mode": "data", "type": "aws_region", "name": "here", "instances": [{"attributes": {"id": "eu"}}]},
        ],
    }

    state = parsed(json.dumps(document).encode())

    assert state.outputs == {"name": "x", "ports": "[1, 2]"}
    assert state.resources == {
        "module.m.aws_vpc.it[0]": "i-1",
        'module.m.aws_vpc.it["a"]': "i-2",
        'module.m.aws_vpc.it["b"]': 'module.m.aws_vpc.it["b"]',
        'module.m.aws_vpc.it["c"] (deposed 00000001)': 'module.m.aws_vpc.it["c"] (deposed 00000001)',
    }


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"version": 3}'])
def test_what_is_no_state_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        parsed(content)


@pytest.mark.parametrize(
    ("status", "kind", "lost"),
    [
        (403, PermissionDenied, False),
        (409, LockHeld, False),
        (418, Answered, False),
        (422, Validation, False),
        (429, Outage, False),
        (502, Outage, True),
    ],
)
def test_every_status_is_a_failure_of_the_domain(status: int, kind: type[Exception], *, lost: bool) -> None:
    failure = of_status(status, write=True, said="the reason")

    assert type(failure) is kind
    assert failure.lost is lost
    assert str(status) in str(failure)
