"""The idle jobs under the executor that Dagster takes where nobody chooses one: a process for each step."""

import dagster

from benchmarks import idle_definitions
from tenant_pipelines.runs.gateway import JOB_OF

WORKFLOWS = frozenset(JOB_OF.values())

defs = dagster.Definitions(
    jobs=[
        idle_definitions.job(job.name).with_executor_def(dagster.multiprocess_executor)
        if job.name in WORKFLOWS
        else job
        for job in idle_definitions.defs.jobs or ()
    ],
    schedules=idle_definitions.defs.schedules,
    sensors=idle_definitions.defs.sensors,
    resources=idle_definitions.defs.resources,
)
