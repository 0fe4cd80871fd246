"""Carries out the stand-in's runs with a real `terraform` or `tofu`, offline, on local state.

Each run has a directory of its own below the stand-in's folder; the state comes from the stand-in and goes back to it.
The program gets an environment of its own: nothing of the sandbox's variables, settings or secrets.
Source: Terraform CLI, plan, apply, show -json; Environment Variables.
"""

import asyncio
import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.terraform.work import NONE, Applied, Counts, Job, Planned, quota_message

_PLAN = "run.tfplan"
_STATE = "terraform.tfstate"
_LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
_COUNTED = re.compile(
    r"(?:Plan|Resources): (\d+) (?:to add|added), (\d+) (?:to change|changed), (\d+) (?:to destroy|d)"
)
_LONGEST = 300.0


class TerraformBinary:
    """Runs one program for every plan and apply.

    Args:
        program: the `terraform` or `tofu` to run.
        folder: where the runs' directories are made.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder

    async def plan(self, job: Job) -> Planned:
        """Lay out the run's directory, then init and plan in it."""
        place = await asyncio.to_thread(self._lay_out, job)
        started, log = await self._run(place, "init", "-no-color", "-input=false")
        if started != 0:
            return Planned(log, failed=True)
        ended, log = await self._plan(place, job)
        return Planned(log, _counts(log), failed=ended != 0)

    async def apply(self, job: Job) -> Applied:
        """Apply what was planned."""
        place = self._folder / job.run_id
        if not (place / _PLAN).is_file():
            return Applied("Error: the saved plan is gone", None, failed=True)
        if job.half:
            await self._plan(place, job, *await self._half_of_it(place))
        ended, log = await self._run(place, "apply", "-no-color", "-input=false", _PLAN)
        state = await asyncio.to_thread(_take_state, place)
        if job.half:
            return Applied(f"{log}\n{quota_message()}", state, failed=True)
        return Applied(log, state, _counts(log), failed=ended != 0)

    def forget(self, run_id: str) -> None:
        """Remove the run's directory."""
        shutil.rmtree(self._folder / run_id, ignore_errors=True)

    async def _plan(self, place: Path, job: Job, *options: str) -> tuple[int, str]:
        destroy = ("-destroy",) if job.destroy else ()
        return await self._run(place, "plan", "-no-color", "-input=false", f"-out={_PLAN}", *destroy, *options)

    async def _half_of_it(self, place: Path) -> list[str]:
        ended, shown = await self._run(place, "show", "-json", _PLAN)
        planned = json.loads(shown)["resource_changes"] if ended == 0 else []
        addresses = sorted(c["address"] for c in planned if c["change"]["actions"] != ["no-op"])
        return [f"-target={address}" for address in addresses[: len(addresses) // 2]]

    def _lay_out(self, job: Job) -> Path:
        place = self._folder / job.run_id
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        files = dict(job.files) | {"sandbox_override.tf": _LOCAL_STATE}
        files["terraform.tfvars.json"] = json.dumps(dict(job.variables))
        if job.state is not None:
            files[_STATE] = json.dumps(job.state)
        for path, text in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(text)
        return place

    async def _run(self, place: Path, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self._program,
            *arguments,
            cwd=place,
            env=_environment(place),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_LONGEST):
                output, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            raise
        return process.returncode or 0, output.decode("utf-8", "replace").strip()


def _environment(place: Path) -> dict[str, str]:
    return {
        "HOME": str(place),
        "PATH": "/usr/bin:/bin",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
    }


def _take_state(place: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads((place / _STATE).read_text())
    except FileNotFoundError:
        return None
    return found if isinstance(found, dict) else None


def _counts(log: str) -> Counts:
    found = _COUNTED.search(log)
    return (int(found[1]), int(found[2]), int(found[3])) if found else NONE
