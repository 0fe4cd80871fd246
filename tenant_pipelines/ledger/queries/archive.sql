-- name: closed_page
-- Closed executions, oldest end first, whether anything is due of them or not: a page costs the same wherever it is.
select * from engine.closed_executions
 where closed_at < %(before)s and (closed_at, id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
 order by closed_at, id
 limit %(limit)s;

-- name: lock_closed
-- With the tenant, so that nobody brings it back meanwhile; whatever somebody else holds is left to a later pass.
select e.id from engine.executions e join tenant_management.tenants t on t.id = e.tenant_id
 where e.id = any(%(ids)s) and e.closed_at is not null
   for update of e skip locked for share of t skip locked;

-- name: closed_among
select * from engine.closed_executions where id = any(%(ids)s);

-- name: documents_of
-- With what is known of the tenant's people, to find them in free text.
select engine.document_of(e) as document,
       coalesce((select array_agg(word) from tenant_management.contacts c,
                        unnest(array[c.first_name, c.last_name, c.email]) word
                  where c.tenant_id = e.tenant_id), '{}') as people
  from engine.executions e where e.id = any(%(ids)s);

-- name: rewrite_executions
update engine.executions e
   set input = r.input, result = r.result, error = r.error, message = r.message, reason = r.reason,
       cancel_reason = r.cancel_reason
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_record(null::engine.executions, d->'execution') r
 where e.id = any(%(ids)s) and e.id = r.id;

-- name: rewrite_steps
update engine.steps s set facts = r.facts, found = r.found, token = r.token, error = r.error
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_recordset(null::engine.steps, d->'steps') r
 where s.execution_id = any(%(ids)s)
   and (s.execution_id, s.side, s.step) = (r.execution_id, r.side, r.step);

-- name: rewrite_attempts
update engine.attempts a set error = r.error
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_recordset(null::engine.attempts, d->'attempts') r
 where a.execution_id = any(%(ids)s)
   and (a.execution_id, a.side, a.step, a.number) = (r.execution_id, r.side, r.step, r.number);

-- name: rewrite_history
update engine.history h set details = r.details
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_recordset(null::engine.history, d->'history') r
 where h.execution_id = any(%(ids)s)
   and (h.execution_id, h.event_id) = (r.execution_id, r.event_id);

-- name: rewrite_signals
update engine.signals g set payload = r.payload
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_recordset(null::engine.signals, d->'signals') r
 where g.execution_id = any(%(ids)s)
   and (g.execution_id, g.name, g.dedupe_key) = (r.execution_id, r.name, r.dedupe_key);

-- name: rewrite_left_behind
update engine.left_behind l set name = r.name, reason = r.reason
  from jsonb_array_elements(%(documents)s) d, jsonb_populate_recordset(null::engine.left_behind, d->'left_behind') r
 where l.execution_id = any(%(ids)s)
   and (l.tenant_id, l.system, l.kind, l.object_id) = (r.tenant_id, r.system, r.kind, r.object_id);

-- name: mark_redacted
update engine.executions set redacted_at = now() where id = any(%(ids)s);

-- name: archive_executions
-- One that was thinned before: what has moved already comes first, the rest is as it is now.
insert into engine.archive as a (execution_id, workflow_id, workflow_type, tenant_id, tenant_key, generation, state,
                                 failed_step, started_at, closed_at, whole, redacted_at, document)
select e.id, e.workflow_id, e.workflow_type, e.tenant_id, e.tenant_key, e.generation, e.state, e.failed_step,
       e.started_at, e.closed_at, %(whole)s, e.redacted_at, engine.document_of(e)
  from engine.executions e where e.id = any(%(ids)s)
on conflict (execution_id) do update
   set whole = excluded.whole,
       archived_at = now(),
       redacted_at = case when a.redacted_at is not null then excluded.redacted_at end,
       document = excluded.document || jsonb_build_object(
           'attempts', (a.document->'attempts') || (excluded.document->'attempts'),
           'history', (a.document->'history') || (excluded.document->'history'),
           'signals', (a.document->'signals') || (excluded.document->'signals'));

-- name: mark_thinned
update engine.executions set thinned_at = now() where id = any(%(ids)s);

-- name: remove_attempts
delete from engine.attempts where execution_id = any(%(ids)s);

-- name: remove_history
delete from engine.history where execution_id = any(%(ids)s);

-- name: remove_signals
delete from engine.signals where execution_id = any(%(ids)s);

-- name: remove_steps
delete from engine.steps where execution_id = any(%(ids)s);

-- name: remove_owed
delete from engine.owed where execution_id = any(%(ids)s);

-- name: remove_left_behind
delete from engine.left_behind where execution_id = any(%(ids)s);

-- name: remove_runs
delete from engine.runs where execution_id = any(%(ids)s);

-- name: remove_executions
delete from engine.executions where id = any(%(ids)s);

-- name: personal_documents
select closed_at as at, execution_id as id from engine.archive
 where redacted_at is null and closed_at < %(before)s
   and (closed_at, execution_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
 order by closed_at, execution_id
 limit %(limit)s;

-- name: lock_documents
select a.document,
       coalesce((select array_agg(word) from tenant_management.contacts c,
                        unnest(array[c.first_name, c.last_name, c.email]) word
                  where c.tenant_id = a.tenant_id), '{}') as people
  from engine.archive a
 where a.execution_id = any(%(ids)s) and a.redacted_at is null
   for update of a skip locked;

-- name: rewrite_documents
update engine.archive a set document = d, redacted_at = now()
  from jsonb_array_elements(%(documents)s) d
 where a.execution_id = any(%(ids)s) and a.execution_id = (d->'execution'->>'id')::uuid;

-- name: old_documents
-- Of tenants that are gone only.
select a.closed_at as at, a.execution_id as id from engine.archive a join tenant_management.tenants t on t.id = a.tenant_id
 where a.whole and t.status = 8 and a.closed_at < %(before)s
   and (a.closed_at, a.execution_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
 order by a.closed_at, a.execution_id
 limit %(limit)s;

-- name: drop_documents
delete from engine.archive where execution_id in (
    select a.execution_id from engine.archive a join tenant_management.tenants t on t.id = a.tenant_id
     where a.execution_id = any(%(ids)s) and a.whole and t.status = 8
       for update of a skip locked for share of t skip locked);

-- name: people_to_forget
-- Tenants that have been gone since before then, and whose people stand nowhere else any more. `planned`: or will not,
-- once the pass is through with the executions. As text: an operator may write any metadata. Looked up for one tenant
-- after the other, until the page is full.
select t.created_on as at, t.id from tenant_management.tenants t
 where t.status = 8
   and (t.created_on, t.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
   and coalesce(t.metadata->>'lastStatusUpdate', to_char(t.modified_on at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
       collate "C" < %(before_text)s
   and (t.metadata ? 'provisioningError' or (
            select c.id from tenant_management.contacts c where c.tenant_id = t.id and c.email <> %(hidden)s limit 1
        ) is not null)
   and (select e.id from engine.executions e
         where e.tenant_id = t.id and (
               e.closed_at is null or e.closed_at >= %(before)s or (e.redacted_at is null and (not %(planned)s
               or exists (select from engine.left_behind l where l.execution_id = e.id and l.resolved_at is null))))
         limit 1) is null
   and (select a.execution_id from engine.archive a
         where a.tenant_id = t.id and a.redacted_at is null and (a.closed_at >= %(before)s or not %(planned)s)
         limit 1) is null
 order by t.created_on, t.id
 limit %(limit)s;

-- name: lock_gone_tenants
select id from tenant_management.tenants where id = any(%(ids)s) and status = 8 for update skip locked;

-- name: forget_people
update tenant_management.contacts set first_name = '', last_name = '', email = %(hidden)s
 where tenant_id = any(%(ids)s);

-- name: forget_errors
update tenant_management.tenants set metadata = metadata - 'provisioningError'
 where id = any(%(ids)s) and metadata ? 'provisioningError';

-- name: old_launches
select ended_at as at, run_id as id from engine.launches
 where state = 'ended' and ended_at < %(before)s
   and (ended_at, run_id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
 order by ended_at, run_id
 limit %(limit)s;

-- name: drop_launches
delete from engine.launches where run_id in (
    select run_id from engine.launches where run_id = any(%(ids)s) and state = 'ended' for update skip locked);

-- name: ends_of_runs
-- When the execution of each of these runs has closed (null: it has not); no row for a run that the ledger does not know.
select r.run_id, e.closed_at from engine.runs r join engine.executions e on e.id = r.execution_id
 where r.run_id = any(%(run_ids)s);

-- name: ends_of_archived
select execution_id, closed_at from engine.archive where execution_id = any(%(ids)s) and whole;

-- name: archived_execution
-- The newest of the workflow, or the one with that run id.
select r.* from engine.archive a, jsonb_populate_record(null::engine.executions, a.document->'execution') r
 where a.whole and a.workflow_id = %(workflow_id)s and (%(run_id)s::uuid is null or a.execution_id = %(run_id)s)
 order by a.generation desc
 limit 1;

-- name: archived_history
select h.event_id, h.at, h.type, h.step, h.attempt, h.details
  from engine.archive a, jsonb_populate_recordset(null::engine.history, a.document->'history') h
 where a.execution_id = %(execution_id)s
 order by h.event_id
 limit %(limit)s offset %(offset)s;

-- name: archived_executions
select r.* from (
    select * from engine.archive where whole and (%(tenant_id)s::uuid is null or tenant_id = %(tenant_id)s)
     order by started_at desc, execution_id limit %(limit)s offset %(offset)s) a,
    jsonb_populate_record(null::engine.executions, a.document->'execution') r
 order by a.started_at desc, a.execution_id;
