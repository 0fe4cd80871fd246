"""The jobs in Dagster: names, launches from anywhere, the rollback, and what may not show."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus
from dagster._core.definitions.dependency import NodeHandle

from tenant_pipelines.domain.call import Mark
from tenant_pipelines.domain.failures import Outage, Validation
from tenant_pipelines.domain.tenant import Status, Tenant
from tenant_pipelines.domain.workflow import Kind, State
from tenant_pipelines.operations.reconcile import Push, reconcile
from tenant_pipelines.provisioning.jobs import provision_job, rollback_job
from tests.fakes.systems import Systems
from tests.runs.stage import BUCKET_KEY, SCHEMA_PASSWORD, Stage
from tests.settings_values import SECRETS

# The contract, section Provisioning: number, step, activity, activity of the undo side.
STEPS = [
    (1, "updating_status", "updateTenantStatus", "updateTenantStatus"),
    (2, "creating_idp_organization", "createIdPOrganization", "deleteIdPOrganization"),
    (3, "creating_admin_user", "createKeycloakUser", "deleteKeycloakUser"),
    (4, "provisioning_database", "provisionTenantSchema", "deprovisionTenantSchema"),
    (5, "provisioning_storage", "provisionTenantStorage", "deprovisionTenantStorage"),
    (6, "provisioning_infrastructure", "provisionInfrastructure", "destroyInfrastructure"),
    (7, "deploying_application", "deployApplication", "rollbackDeployment"),
    (8, "configuring_dns", "configureDns", "removeDns"),
    (9, "creating_resources", "createResources", "deleteResources"),
    (10, "activating_tenant", "activateTenant", None),
    (11, "creating_billing_customer", "createBillingCustomer", None),
    (12, "creating_subscription", "createSubscription", None),
    (13, "sending_notifications", "sendWelcomeEmail", None),
    (14, "provisioning_app_plane", "notifyAppPlane", None),
]
NAMES = [name for _, name, _, _ in STEPS]


# What Dagster is given


def test_the_definitions_load_without_any_setting(tmp_path: Path) -> None:
    """As `dagster definitions validate` does, in a process of its own that has no settings."""
    code = "import dagster, tenant_pipelines.definitions as it; dagster.Definitions.validate_loadable(it.defs)"
    root = Path(__file__).parents[2]

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_nodes_have_the_contracts_step_names_in_order_and_carry_number_and_activity() -> None:
    nodes = provision_job().nodes_in_topological_order

    assert [node.name for node in nodes] == NAMES
    for node, (number, _, activity, _) in zip(nodes, STEPS, strict=True):
        assert node.definition.tags == {"step": str(number), "activity": activity}
        assert f"Step {number}: {activity}" in (node.definition.description or "")


def test_undo_nodes_run_the_other_way_round_from_the_step_before_the_pivot() -> None:
    nodes = rollback_job().nodes_in_topological_order

    undone = [row for row in reversed(STEPS) if row[0] < 10]
    assert [node.name for node in nodes] == [f"undo_{name}" for _, name, _, _ in undone]
    for node, (number, _, _, activity) in zip(nodes, undone, strict=True):
        assert node.definition.tags == {"step": str(number), "activity": activity}


def test_no_two_ops_of_the_code_location_share_a_definition_name() -> None:
    names = [node.definition.name for job in (provision_job(), rollback_job()) for node in job.nodes]

    assert len(set(names)) == len(names)


def test_ops_run_in_the_runs_own_process_and_dagster_retries_none() -> None:
    for job in (provision_job(), rollback_job()):
        assert job.executor_def.name == "in_turn"
        assert not [node.name for node in job.nodes if job.get_retry_policy_for_handle(NodeHandle(node.name, None))]


def test_only_the_forward_job_has_the_failure_hook() -> None:
    assert {hook.name for hook in provision_job().hook_defs} == {"start_rollback"}
    assert not rollback_job().hook_defs


# A launch that nobody announced


def test_a_launch_from_the_ui_claims_tags_its_run_and_provisions(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()

    run = stage.launch_by_hand(tenant.id)

    assert run.status is DagsterRunStatus.SUCCESS
    execution = stage.execution(run)
    assert execution.state is State.FORWARD
    assert execution.waiting_until is not None
    assert (
        run.tags.items()
        >= {
            "tenant_id": str(tenant.id),
            "tenant_key": "acme",
            "tier": "silo",
            "workflow_id": f"provision-tenant-{tenant.id}",
            "workflow_run_id": run.run_id,
            "generation": "1",
            "kind": "forward",
        }.items()
    )
    assert "refused" not in run.tags
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE
    assert "stripe subscription" in systems.of("acme")


def test_every_step_shows_its_metadata_in_the_run(stage: Stage) -> None:
    shown = stage.shown(stage.launch_by_hand(stage.tenant().id))

    assert list(shown) == NAMES
    assert all("state" in labels for labels in shown.values())
    assert shown["provisioning_storage"] == {
        "state": "done",
        "bucket tenant-acme (Created)": "tenant-acme",
        "user tenant-acme (Created)": "tenant-acme",
    }
    assert shown["deploying_application"] == {"state": "done", "namespace tenant-acme (Created)": "https://app"}
    assert shown["provisioning_app_plane"]["state"] == "waiting"


def test_what_is_owed_is_shown_and_fails_nothing(stage: Stage, systems: Systems) -> None:
    systems.fail("mail", Validation("Novu", "knows no such template"))

    run = stage.launch_by_hand(stage.tenant().id)

    assert run.status is DagsterRunStatus.SUCCESS
    shown = stage.shown(run)["sending_notifications"]
    assert shown["state"] == "owed"
    assert "Novu knows no such template" in shown["owed"]


@pytest.mark.parametrize("plan", ["free", "hybrid"])
def test_steps_that_a_tier_does_not_have_are_shown_as_skipped(stage: Stage, plan: str) -> None:
    run = stage.launch_by_hand(stage.tenant(plan=plan).id)

    assert stage.shown(run)["configuring_dns"] == {"state": "skipped"}


# Two at once


def test_the_loser_of_two_launches_is_tagged_busy_and_the_winner_is_unharmed(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    losers: list[DagsterRun] = []
    systems.before = _once("bucket", lambda: losers.append(_in_thread(stage, tenant)))

    winner = stage.launch_by_hand(tenant.id)

    [loser] = losers
    assert loser.status is DagsterRunStatus.FAILURE
    assert loser.tags["refused"] == "BUSY"
    assert "workflow_id" not in loser.tags
    assert f"Workflow provision-tenant-{tenant.id} of tenant {tenant.key} is running" in stage.said(loser)
    assert stage.ledger.execution_of_run(UUID(loser.run_id)) is None
    assert stage.queued() == []
    assert winner.status is DagsterRunStatus.SUCCESS
    assert systems.calls.count("bucket") == 1
    assert not [call for call in systems.calls if call.startswith("remove")]
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE


# Failing, and what follows


def test_a_failing_step_starts_exactly_one_rollback_by_the_hook(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    systems.fail("bucket", Validation("S3", "said no"))

    run = stage.launch_by_hand(tenant.id)

    assert run.status is DagsterRunStatus.FAILURE
    assert stage.steps(run, DagsterEventType.STEP_FAILURE) == ["provisioning_storage"]
    assert stage.steps(run, DagsterEventType.HOOK_COMPLETED) == ["provisioning_storage"]
    execution = stage.execution(run)
    assert execution.state is State.ROLLING_BACK
    assert reconcile(stage.desk, execution, by="workflow_guard") is Push.NOTHING
    [rollback] = stage.queued()
    assert rollback.job_name == "rollback_tenant"
    assert rollback.run_id == str(execution.run_id)
    assert rollback.tags["kind"] == Kind.ROLLBACK


def test_the_rollback_undoes_what_was_begun_and_says_what_it_removed(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    systems.fail("bucket", Validation("S3", "said no"), after=True)
    run = stage.launch_by_hand(tenant.id)

    [rollback] = stage.carry_out_queue()

    assert rollback.status is DagsterRunStatus.SUCCESS
    assert stage.steps(rollback)[0] == "undo_creating_resources"
    assert stage.steps(rollback)[-1] == "undo_updating_status"
    assert stage.shown(rollback)["undo_provisioning_storage"] == {
        "state": "done",
        "bucket tenant-acme": "Removed",
        "user tenant-acme": "NothingToRemove",
    }
    assert stage.shown(rollback)["undo_configuring_dns"] == {"state": "skipped"}
    assert stage.shown(rollback)["undo_updating_status"] == {"left_behind": "nothing"}
    assert systems.of("acme") == set()
    assert stage.execution(run).state is State.FAILED
    assert stage.ledger.tenant(tenant.id).status is Status.PROVISION_FAILED


def test_a_failing_undo_is_shown_undoes_the_rest_and_the_run_says_when_it_goes_on(
    stage: Stage, systems: Systems
) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    systems.fail("remove user", Validation("Keycloak", "will not have it"))
    run = stage.launch_by_hand(stage.tenant().id)

    [rollback] = stage.carry_out_queue()

    assert rollback.status is DagsterRunStatus.SUCCESS
    said = stage.shown(rollback)["undo_updating_status"]
    assert (said["state"], said["waits_for"]) == ("waiting", "not undone yet: creating_admin_user")
    assert f"{stage.execution(run).next_undo_at:%H:%M:%S}" in said["goes_on_at"]
    assert stage.shown(rollback)["undo_creating_admin_user"]["state"] == "failed"
    assert "Keycloak" in stage.shown(rollback)["undo_creating_admin_user"]["error"]
    assert stage.shown(rollback)["undo_creating_idp_organization"]["state"] == "done"
    assert stage.execution(run).next_undo_at is not None


def test_a_failure_past_the_pivot_starts_no_rollback(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    systems.fail("customer", Validation("Stripe", "said no"))

    run = stage.launch_by_hand(tenant.id)

    assert run.status is DagsterRunStatus.FAILURE
    assert stage.queued() == []
    assert stage.execution(run).state is State.FAILED
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE


def test_a_cancel_stops_the_run_at_its_next_step_and_is_rolled_back(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    execution = stage.start(tenant)
    systems.before = _once("schema", lambda: stage.cancel(execution))

    run = stage.carry_out(execution.id)

    assert run.status is DagsterRunStatus.FAILURE
    assert "bucket" not in systems.calls
    [rollback] = stage.carry_out_queue()
    assert rollback.status is DagsterRunStatus.SUCCESS
    assert systems.of("acme") == set()
    assert stage.ledger.tenant(tenant.id).status is Status.PROVISION_CANCELLED


# Runs that may not act


@pytest.mark.parametrize("selection", [["creating_admin_user"], ["activating_tenant*"]])
def test_a_subset_launched_without_an_execution_refuses_and_touches_nothing(
    stage: Stage, systems: Systems, selection: list[str]
) -> None:
    tenant = stage.tenant()

    run = stage.launch_by_hand(tenant.id, steps=selection)

    assert run.status is DagsterRunStatus.FAILURE
    assert run.tags["refused"] == "WRONG_STATE"
    assert f"tenant-pipelines tenant provision {tenant.id}" in stage.said(run)
    assert systems.calls == []
    assert stage.queued() == []
    assert stage.ledger.tenant(tenant.id).status is Status.PENDING_PROVISION
    assert stage.ledger.executions(tenant_id=tenant.id) == []


def test_a_rollback_launched_by_hand_refuses_and_touches_nothing(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    stage.launch_by_hand(tenant.id)
    before = systems.of("acme")

    run = stage.launch_by_hand(tenant.id, job="rollback_tenant")

    assert run.status is DagsterRunStatus.FAILURE
    assert run.tags["refused"] == "WRONG_STATE"
    assert systems.of("acme") == before
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE


def test_an_unknown_tenant_is_refused(stage: Stage, neighbour: Mark) -> None:
    run = stage.launch_by_hand(neighbour.tenant_id)

    assert run.tags["refused"] == "NOT_FOUND"
    assert stage.queued() == []


def test_re_executing_from_failure_after_a_rollback_refuses(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    systems.fail("bucket", Validation("S3", "said no"))
    failed = stage.launch_by_hand(tenant.id)
    stage.carry_out_queue()
    calls = list(systems.calls)

    run = stage.re_execute(failed, from_failure=True)

    assert run.step_keys_to_execute is not None
    assert "updating_status" not in run.step_keys_to_execute
    assert run.status is DagsterRunStatus.FAILURE
    assert run.tags["refused"] == "WRONG_STATE"
    assert systems.calls == calls
    assert stage.queued() == []
    assert stage.ledger.tenant(tenant.id).status is Status.PROVISION_FAILED


def test_re_executing_all_steps_after_a_rollback_is_a_restart(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    systems.fail("bucket", Validation("S3", "said no"))
    failed = stage.launch_by_hand(tenant.id)
    stage.carry_out_queue()

    run = stage.re_execute(failed)

    assert run.status is DagsterRunStatus.SUCCESS
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE
    assert stage.execution(run).generation == 2


def test_a_re_executed_run_is_tagged_as_what_it_is(stage: Stage, systems: Systems) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    failed = stage.launch_by_hand(stage.tenant().id)
    stage.carry_out_queue()

    run = stage.re_execute(failed)

    assert run.tags["workflow_run_id"] == run.run_id
    assert run.tags["generation"] == "2"
    assert run.tags["kind"] == "forward"


def test_a_re_executed_run_does_not_say_that_its_parent_had_parked_or_was_refused(
    stage: Stage, systems: Systems
) -> None:
    systems.fail("bucket", Validation("S3", "said no"))
    failed = stage.launch_by_hand(stage.tenant().id)
    stage.carry_out_queue()
    stage.instance.add_run_tags(failed.run_id, {"parked": "provisioning_storage", "refused": "BUSY"})

    run = stage.re_execute(stage.run(failed.run_id))

    assert run.status is DagsterRunStatus.SUCCESS
    assert (run.tags["parked"], run.tags["refused"]) == ("", "")
    again = stage.re_execute(run)
    assert (again.tags["parked"], again.tags["refused"]) == ("", "BUSY")


def test_re_executing_while_the_workflow_runs_is_refused(stage: Stage, systems: Systems) -> None:
    tenant = stage.tenant()
    done = stage.launch_by_hand(tenant.id)
    calls = list(systems.calls)

    run = stage.re_execute(done)

    assert run.tags["refused"] == "BUSY"
    assert systems.calls == calls
    assert stage.ledger.tenant(tenant.id).status is Status.ACTIVE


# What may not show


def test_no_secret_shows_in_events_tags_config_or_output(
    stage: Stage, systems: Systems, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "fake-secret-in-a-clients-words"
    failure = Validation("Kubernetes", "refused the manifest")
    failure.__cause__ = ValueError(f"the client said {words}")
    systems.fail("deploy", failure)
    systems.fail("schema", Outage.status("PostgreSQL", 503), times=1)
    systems.fail("bucket", ValueError(words), times=1)
    systems.fail("remove deployment", failure)
    tenant = stage.tenant()

    run = stage.launch_by_hand(tenant.id)
    runs = [run, *stage.carry_out_queue()]

    output = capfd.readouterr()
    history = str(stage.ledger.history(UUID(run.run_id)))
    noted = str(stage.journal.lines)
    texts = [output.out, output.err, history, noted]
    texts += [text for each in runs for text in (stage.said(each), str(each.tags), str(each.run_config))]
    assert [text for text in texts if "refused the manifest" in text] != []
    for secret in [*SECRETS.values(), SCHEMA_PASSWORD, BUCKET_KEY, words]:
        assert [text for text in texts if secret in text] == []


def _once(operation: str, act: Callable[[], object]) -> Callable[[str], None]:
    """What `Systems.before` is to be: acts before the first call of that operation."""
    todo = [act]

    def before(called: str) -> None:
        if called == operation and todo:
            todo.pop()()

    return before


def _in_thread(stage: Stage, tenant: Tenant) -> DagsterRun:
    """A launch beside the one that goes on in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(stage.launch_by_hand, tenant.id).result(60)
