-- name: ping
select 1;

-- name: execution_of_run
-- The execution that a Dagster run was recorded for, and whether that run is to be handed over.
select e.*, r.hand_over from engine.runs r join engine.executions e on e.id = r.execution_id where r.run_id = %(run_id)s;

-- name: lock_execution_of_run
-- `version` is another one after every change of the execution's row.
select e.*, r.hand_over, e.xmin::text as version
  from engine.runs r join engine.executions e on e.id = r.execution_id where r.run_id = %(run_id)s
   for update of e;

-- name: standing_of_run
-- All that the fence asks about: whether the run may act, and whether somebody wants a cancel.
select e.id, e.workflow_id, e.tenant_id, e.tenant_key, e.state, e.run_id, e.parked_at, e.waiting_until, e.next_undo_at,
       e.cancel_requested_at
  from engine.runs r join engine.executions e on e.id = r.execution_id
 where r.run_id = %(run_id)s;

-- name: standing_of_sleeping_run
-- The same, and who wants its worker back. Others only where the run has one of the pool's: rows that an earlier pool
-- has left in the queue concern nobody whose runs are processes of their own.
select e.id, e.workflow_id, e.tenant_id, e.tenant_key, e.state, e.run_id, e.parked_at, e.waiting_until, e.next_undo_at,
       e.cancel_requested_at, r.hand_over,
       exists (select from engine.launches l where l.run_id = r.run_id and l.state = 'taken')
       and exists (select from engine.launches q where q.state = 'queued' and q.format <= %(format)s
                      and q.queued_at < clock_timestamp() - interval '1 second') as others_wait
  from engine.runs r join engine.executions e on e.id = r.execution_id
 where r.run_id = %(run_id)s;

-- name: execution
select * from engine.executions where id = %(id)s;

-- name: lock_execution
select * from engine.executions where id = %(id)s for update;

-- name: newest_execution
select * from engine.executions where workflow_id = %(workflow_id)s order by generation desc limit 1;

-- name: running_execution_of_tenant
select * from engine.executions where tenant_id = %(tenant_id)s and closed_at is null;

-- name: newest_execution_of_tenant
select * from engine.executions where tenant_id = %(tenant_id)s order by generation desc limit 1;

-- name: list_executions
select * from engine.executions
 where (%(tenant_id)s::uuid is null or tenant_id = %(tenant_id)s)
   and (%(states)s::text[] is null or state = any(%(states)s))
 order by started_at desc, id
 limit %(limit)s offset %(offset)s;

-- name: insert_execution
-- The lock: a second one of the same tenant violates executions_running.
insert into engine.executions (id, workflow_id, workflow_type, tenant_id, tenant_key, tier, generation,
                               catalogue_version, state, run_id, input, requested_by, reason, message)
select %(id)s, %(workflow_id)s, %(workflow_type)s, %(tenant_id)s, %(tenant_key)s, %(tier)s,
       1 + coalesce(max(generation), 0), %(catalogue_version)s, 'forward', %(id)s, %(input)s,
       %(requested_by)s, %(reason)s, 'Waiting for a worker'
  from engine.executions where tenant_id = %(tenant_id)s
returning *;

-- name: claim_provision
-- The execution, its first run, the tenant's status, and what is told of it. No row: the status was another one.
-- The lock: a second execution of the same tenant violates executions_running.
with claimed as (
    insert into engine.executions (id, workflow_id, workflow_type, tenant_id, tenant_key, tier, generation,
                                   catalogue_version, state, run_id, input, requested_by, reason, message)
    select %(id)s, %(workflow_id)s, %(workflow_type)s, %(tenant_id)s, %(tenant_key)s, %(tier)s,
           1 + coalesce(max(generation), 0), %(catalogue_version)s, 'forward', %(id)s, %(input)s,
           %(requested_by)s, %(reason)s, 'Waiting for a worker'
      from engine.executions where tenant_id = %(tenant_id)s
    returning *
), launched as (
    insert into engine.runs (run_id, execution_id, kind, number) select id, id, 'forward', 1 from claimed
    on conflict (run_id) do nothing
), changed as (
    update tenant_management.tenants set status = %(new_status)s, metadata = metadata - %(drop)s::text[]
     where id = %(tenant_id)s and status = %(old_status)s
    returning id
), told as (
    insert into engine.history (execution_id, event_id, type, details)
    select id, 1, 'WorkflowExecutionStarted', %(details)s from claimed
), audited as (
    insert into engine.operator_actions (performed_by, source, action, outcome, tenant_id, workflow_id, run_id, reason,
                                         request_id, changes)
    select %(requested_by)s, %(source)s, 'start', 'done', tenant_id, workflow_id, id, %(reason)s, %(request_id)s,
           %(changes)s
      from claimed
)
select claimed.* from claimed join changed on changed.id = claimed.tenant_id;

-- name: insert_run
insert into engine.runs (run_id, execution_id, kind, number)
select %(run_id)s, %(execution_id)s, %(kind)s, 1 + count(*) from engine.runs where execution_id = %(execution_id)s
on conflict (run_id) do nothing;

-- name: count_runs
select count(*) as n from engine.runs where execution_id = %(execution_id)s;

-- name: set_message
update engine.executions set message = %(message)s, updated_at = now() where id = %(id)s;

-- name: rollback_due
-- Whoever starts rollbacks hears of it with the transaction's end, should the failing run's own hook not come to it.
with due as (
    update engine.executions
       set state = 'rollback_due', failed_step = %(failed_step)s, error = %(error)s, error_code = %(error_code)s,
           transient = %(transient)s, message = 'Rolling back', updated_at = now(),
           parked_step = null, parked_side = null, parked_at = null, wake_at = null
     where id = %(id)s and state = 'forward'
    returning id
)
select id, pg_notify('engine_wake', id::text) from due;

-- name: note_failure
update engine.executions
   set failed_step = %(failed_step)s, error = %(error)s, error_code = %(error_code)s, transient = %(transient)s,
       updated_at = now()
 where id = %(id)s;

-- name: claim_rollback
-- Exactly one caller wins: hook, sensor or operator. The number of runs is what the caller has seen.
update engine.executions e
   set state = 'rolling_back', run_id = %(run_id)s, next_undo_at = null, losses = 0, rollback_claimed_by = %(by)s,
       rollback_claimed_at = now(), message = 'Rolling back', updated_at = now()
 where e.id = %(id)s and e.closed_at is null
   and (e.state = 'rollback_due' or (e.state = 'rolling_back' and e.next_undo_at <= now()))
   and (select count(*) from engine.runs r where r.execution_id = e.id) = %(runs)s
returning *;

-- name: replace_run
-- The run that acted is lost: another one goes on where it stopped.
update engine.executions e
   set run_id = %(run_id)s, losses = losses + 1, updated_at = now(), message = %(message)s
 where e.id = %(id)s and e.run_id = %(lost_run_id)s and e.closed_at is null
returning *;

-- name: forget_losses
-- Something has been done: runs that are lost from now on are counted anew.
update engine.executions set losses = 0 where id = %(id)s and losses > 0;

-- name: count_loss
update engine.steps set losses = losses + 1
 where execution_id = %(execution_id)s and state in ('started', 'waiting') and run_id = %(lost_run_id)s
returning step, side, losses;

-- name: request_cancel
update engine.executions
   set cancel_requested_at = now(), cancel_requested_by = %(by)s, cancel_reason = %(reason)s, updated_at = now(),
       wake_at = case when parked_side = 'do' then now() else wake_at end
 where id = %(id)s and closed_at is null and cancel_requested_at is null
returning id;

-- name: await_signal
update engine.executions
   set waiting_until = now() + make_interval(secs => %(seconds)s), message = %(message)s, updated_at = now()
 where id = %(id)s;

-- name: sweep_until
update engine.executions
   set sweep_until = greatest(sweep_until, now() + make_interval(secs => %(seconds)s))
 where id = %(id)s;

-- name: undo_failing
update engine.executions
   set undo_failing_since = coalesce(undo_failing_since, now()), updated_at = now() where id = %(id)s;

-- name: rollback_again_at
update engine.executions set next_undo_at = %(at)s, message = %(message)s, updated_at = now() where id = %(id)s;

-- name: close_execution
update engine.executions
   set state = %(state)s, closed_at = now(), updated_at = now(), result = %(result)s, message = %(message)s,
       progress = case when %(state)s = 'completed' then 100 else progress end, waiting_until = null, next_undo_at = null,
       parked_step = null, parked_side = null, parked_at = null, wake_at = null,
       step = case when %(state)s = 'completed' then 'completed' else step end
 where id = %(id)s and closed_at is null
returning id;

-- name: announce
select pg_notify('engine_execution', %(execution_id)s::text);

-- name: announce_wake
-- Whoever pushes executions on is to look at this one now.
select pg_notify('engine_wake', %(execution_id)s::text);

-- name: append_history
insert into engine.history (execution_id, event_id, type, step, attempt, details)
select %(execution_id)s, 1 + coalesce(max(event_id), 0), %(type)s, %(step)s, %(attempt)s, %(details)s
  from engine.history where execution_id = %(execution_id)s;

-- name: history_of
select event_id, at, type, step, attempt, details from engine.history
 where execution_id = %(execution_id)s order by event_id limit %(limit)s offset %(offset)s;

-- name: insert_action
insert into engine.operator_actions (performed_by, source, action, outcome, tenant_id, workflow_id, run_id, reason,
                                     request_id, changes)
values (%(performed_by)s, %(source)s, %(action)s, %(outcome)s, %(tenant_id)s, %(workflow_id)s, %(run_id)s,
        %(reason)s, %(request_id)s, %(changes)s);

-- name: insert_signal
insert into engine.signals (execution_id, name, dedupe_key, payload, received_by)
values (%(execution_id)s, %(name)s, %(dedupe_key)s, %(payload)s, %(by)s)
on conflict do nothing
returning name;

-- name: first_signal
select payload from engine.signals where execution_id = %(execution_id)s and name = %(name)s
 order by received_at limit 1;

-- name: unattended_executions
-- Every running execution that somebody may have to push on, oldest first. What rests needs nobody before its time.
select * from engine.executions
 where closed_at is null and updated_at < now() - make_interval(secs => %(quiet)s)
   and coalesce(wake_at, waiting_until, next_undo_at, updated_at) <= now()
   and (updated_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
 order by updated_at, id
 limit %(limit)s;

-- name: left_behind_of_tenant
select system, kind, name, object_id, step, reason from engine.left_behind
 where tenant_id = %(tenant_id)s and resolved_at is null order by system, kind, name;

-- name: list_left_behind
insert into engine.left_behind (tenant_id, system, kind, object_id, name, step, reason, execution_id)
values (%(tenant_id)s, %(system)s, %(kind)s, %(object_id)s, %(name)s, %(step)s, %(reason)s, %(execution_id)s)
on conflict (tenant_id, system, kind, object_id) do update
   set reason = excluded.reason, execution_id = excluded.execution_id, step = excluded.step, listed_at = now(),
       resolved_at = null, resolved_by = null;

-- name: settle_left_behind
update engine.left_behind set resolved_at = now(), resolved_by = %(by)s
 where tenant_id = %(tenant_id)s and step = any(%(steps)s) and resolved_at is null;

-- name: owe
insert into engine.owed (tenant_id, step, execution_id) values (%(tenant_id)s, %(step)s, %(execution_id)s)
on conflict do nothing;

-- name: settle_owed
update engine.owed set settled_at = now()
 where tenant_id = %(tenant_id)s and step = %(step)s and settled_at is null
returning execution_id;

-- name: owed_of_tenant
select distinct step from engine.owed where tenant_id = %(tenant_id)s and settled_at is null;

-- name: forget_placement
delete from engine.placements where tenant_id = %(tenant_id)s;
