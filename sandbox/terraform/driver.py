"""Takes the runs of each workspace through their states, one run of a workspace at a time.

A workspace has at most one task, which is started by any request that could have given it something to do. So runs go
on after a restart with the first request: a plan is made again, an apply that was cut off has failed.
"""

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.store import Document, Store
from sandbox.terraform.ids import new_id, new_secret
from sandbox.terraform.work import Job, Worker, unpacked

FINAL = frozenset({"applied", "planned_and_finished", "errored", "canceled", "force_canceled", "discarded"})
GOES_ON = frozenset({"pending", "plan_queued", "planning", "confirmed", "apply_queued", "applying"})
"""Where a run goes on without anybody's decision."""


def now() -> str:
    """The time as Terraform Cloud writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Driver:
    """Drives the runs in a store.

    Args:
        store: where runs, states and logs are kept.
        worker: what carries out plans and applies.
    """

    def __init__(self, store: Store, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def kick(self, workspace_id: str) -> None:
        """Go on with whatever the workspace has to do."""
        task = self._tasks.get(workspace_id)
        if (task is None or task.done()) and self._next(workspace_id) is not None:
            self._tasks[workspace_id] = asyncio.create_task(self._drive(workspace_id))

    def runs(self, workspace_id: str) -> list[Document]:
        """The workspace's runs, oldest first."""
        return [run for run in self._store.all("run") if run["workspace"] == workspace_id]

    def active(self, workspace_id: str) -> Document | None:
        """The run whose turn it is."""
        return next((run for run in self.runs(workspace_id) if run["status"] not in FINAL), None)

    def move(self, run: Document, status: str) -> None:
        """Give the run this status from now on, unless it has been removed with its workspace."""
        run["status"] = status
        run["timestamps"][f"{status.replace('_', '-')}-at"] = now()
        if self._store.get("run", run["id"]) is not None:
            self._store.put("run", run["id"], run)
        if status in FINAL:
            self._worker.forget(run["id"])

    def state(self, workspace_id: str) -> Document | None:
        """The workspace's newest state version."""
        return next((s for s in reversed(self._store.all("state")) if s["workspace"] == workspace_id), None)

    def add_state(self, workspace: Document, state: Mapping[str, Any], run_id: str | None) -> Document:
        """Keep a new state version."""
        version = {
            "id": new_id(self._store, "sv"),
            "workspace": workspace["id"],
            "workspace_name": workspace["name"],
            "run": run_id,
            "created": now(),
            "serial": state["serial"],
            "content": json.dumps(state),
        }
        return self._store.put("state", version["id"], version)

    def _next(self, workspace_id: str) -> Document | None:
        run = self.active(workspace_id)
        workspace = self._store.get("workspace", workspace_id)
        if run is None or workspace is None or run["status"] not in GOES_ON:
            return None
        held = run.get("held_until", 0.0) > time.time()
        locked = workspace["locked_by"] is not None and run["status"] == "pending"
        return None if held or locked else run

    async def _drive(self, workspace_id: str) -> None:
        here = False
        while (run := self._next(workspace_id)) is not None:
            try:
                await self._step(run, resumed=not here)
            except Exception as error:
                self._log(run, f"Error: the sandbox's worker failed: {type(error).__name__}")
                self.move(run, "errored")
                raise
            here = True

    async def _step(self, run: Document, *, resumed: bool) -> None:
        """Take the run to its next pause."""
        if run.get("cancel_asked"):
            self.move(run, "canceled")
        elif run["status"] in {"pending", "plan_queued", "planning"}:
            await self._plan(run)
        elif resumed and run["status"] == "applying":
            self._log(run, "Error: the worker was lost while it applied")
            self.move(run, "errored")
        else:
            await self._apply(run)

    async def _plan(self, run: Document) -> None:
        self.move(run, "plan_queued")
        await asyncio.sleep(0)
        self.move(run, "planning")
        found = await self._worker.plan(self._job(run))
        self._log(run, found.log)
        run["plan_counts"] = list(found.counts)
        run["has_changes"] = any(found.counts)
        if run.get("cancel_asked"):
            self.move(run, "canceled")
        elif found.failed:
            self.move(run, "errored")
        elif not any(found.counts):
            self.move(run, "planned_and_finished")
        else:
            self.move(run, "planned")
            if run["auto_apply"]:
                self.move(run, "confirmed")

    async def _apply(self, run: Document) -> None:
        self.move(run, "apply_queued")
        await asyncio.sleep(0)
        run["apply_log"] = run["apply_log"] or new_secret()
        self.move(run, "applying")
        done = await self._worker.apply(self._job(run))
        self._log(run, done.log)
        run["apply_counts"] = list(done.counts)
        workspace = self._store.get("workspace", run["workspace"])
        if done.state is not None and workspace is not None:
            self.add_state(workspace, done.state, run["id"])
        if run.get("cancel_asked"):
            self.move(run, "canceled")
        else:
            self.move(run, "errored" if done.failed else "applied")

    def _log(self, run: Document, text: str) -> None:
        secret = run["apply_log"] or run["plan_log"]
        log = {"text": f"\x02{text}\n\x03", "workspace_name": run["workspace_name"]}
        self._store.put("log", secret, log)

    def _job(self, run: Document) -> Job:
        configuration = self._store.get("configuration", run["configuration"] or "") or {}
        variables = {
            v["key"]: v["value"]
            for v in self._store.all("var")
            if v["workspace"] == run["workspace"] and v["category"] == "terraform"
        }
        state = self.state(run["workspace"])
        return Job(
            run_id=run["id"],
            files=unpacked(base64.b64decode(configuration.get("content", ""))),
            variables=variables,
            state=None if state is None else json.loads(state["content"]),
            destroy=run["is_destroy"],
            half=run.get("half", False),
        )
