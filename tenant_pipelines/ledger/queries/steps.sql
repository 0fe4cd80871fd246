-- name: step_of
select * from engine.steps where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: steps_of
select * from engine.steps where execution_id = %(execution_id)s order by side, number;

-- name: step_to_begin
-- All that decides how a side of a step begins; asked when the execution is locked, so that it is as of then.
--   done      how its do side stands
--   settled   steps before it that are behind us: a run may not jump over the others
--   facts     what the steps before it have found out, one object a step
--   keys_of   the generation whose idempotency keys are used: that of the execution whose run took the first step, for a
--             call that it has lost may still take effect under its keys
--   names     the placement so far
--   hand_over whether the run is to be handed over
--   and the tenant, as in tenant_with_all
select s.state, s.found, s.error, p.names,
       (select r.hand_over from engine.runs r where r.run_id = %(run_id)s) as hand_over,
       (select d.state from engine.steps d
         where d.execution_id = e.id and d.side = 'do' and d.step = %(step)s) as done,
       (select count(*) from engine.steps b
         where b.execution_id = e.id and b.side = 'do' and b.number < %(number)s
           and b.state in ('done', 'skipped', 'owed')) as settled,
       (select jsonb_agg(f.facts order by f.number) from engine.steps f
         where f.execution_id = e.id and f.side = 'do' and f.state in ('done', 'waiting') and f.facts <> '{}') as facts,
       coalesce((select o.generation
                   from engine.steps k join engine.runs r on r.run_id = k.run_id
                   join engine.executions o on o.id = r.execution_id
                  where k.execution_id = e.id and k.side = 'do' order by k.number limit 1), e.generation) as keys_of,
       t.id, t.key, t.name, t.status, t.tier, t.domains, t.metadata, t.created_on, t.modified_on,
       coalesce((select jsonb_agg(jsonb_build_object('first_name', c.first_name, 'last_name', c.last_name,
                        'email', c.email, 'primary', c.is_primary) order by c.is_primary desc, c.created_on, c.id)
                   from tenant_management.contacts c where c.tenant_id = t.id), '[]') as contacts,
       (select jsonb_build_object('id', u.id, 'plan_id', u.plan_id)
          from tenant_management.subscriptions u where u.tenant_id = t.id
         order by u.created_on desc, u.id limit 1) as subscription
  from engine.executions e
  join tenant_management.tenants t on t.id = e.tenant_id
  left join engine.placements p on p.tenant_id = t.id
  left join engine.steps s on s.execution_id = e.id and s.side = %(side)s and s.step = %(step)s
 where e.id = %(execution_id)s;

-- name: begin_step
-- The intent: the side goes on where it had been begun, with another attempt; what people see of the execution moves on.
-- A name once recorded stays: undo must use the one under which the thing was made.
-- No row, and nothing is written, where the execution is of another version by now.
with held as materialized (
    select id from engine.executions where id = %(execution_id)s and xmin = %(version)s::xid for update
), started as (
    insert into engine.steps (execution_id, side, step, number, state, run_id, tries)
    select id, %(side)s, %(step)s, %(number)s, 'started', %(run_id)s, 1 from held
    on conflict (execution_id, side, step) do update
       set state = case when steps.state = 'waiting' and steps.token is not null then 'waiting' else 'started' end,
           run_id = excluded.run_id, tries = steps.tries + 1,
           started_at = case when steps.state in ('started', 'waiting') then steps.started_at else now() end,
           answered = case when steps.state in ('started', 'waiting') then steps.answered else 0 end,
           token = case when steps.state in ('started', 'waiting') then steps.token end,
           finished_at = null, error = null, error_code = null
    returning token, started_at, answered, tries
), attempted as (
    insert into engine.attempts (execution_id, side, step, number, run_id)
    select %(execution_id)s, %(side)s, %(step)s, tries, %(run_id)s from started
), told as (
    insert into engine.history (execution_id, event_id, type, step, attempt)
    select %(execution_id)s,
           1 + coalesce((select max(event_id) from engine.history where execution_id = %(execution_id)s), 0),
           %(event)s, %(step)s, tries
      from started
), placed as (
    insert into engine.placements (tenant_id, names)
    select %(tenant_id)s, %(new_names)s::jsonb from held where %(new_names)s::jsonb is not null
    on conflict (tenant_id) do update set names = excluded.names || placements.names
), shown as (
    update engine.executions e
       set step = case when %(side)s = 'do' then %(step)s else step end,
           progress = greatest(progress, %(progress)s), message = %(message)s, updated_at = now(),
           losses = case when %(side)s = 'do' then 0 else losses end
      from held where e.id = held.id
    returning e.step, e.progress, e.message, e.updated_at, e.losses, e.xmin::text as version
)
select s.token, s.started_at, s.answered, s.tries as attempt,
       e.step, e.progress, e.message, e.updated_at, e.losses, e.version
  from started s, shown e;

-- name: skip_step
insert into engine.steps (execution_id, side, step, number, state, run_id, finished_at)
values (%(execution_id)s, %(side)s, %(step)s, %(number)s, 'skipped', %(run_id)s, now())
on conflict (execution_id, side, step) do nothing;

-- name: open_attempt
with counted as (
    update engine.steps set tries = tries + 1
     where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s
    returning tries
)
insert into engine.attempts (execution_id, side, step, number, run_id)
select %(execution_id)s, %(side)s, %(step)s, tries, %(run_id)s from counted
returning number;

-- name: finish_attempt
-- The effect is there: the attempt, the step, the history and the tenant's metadata say so at once. Nothing is written
-- where the attempt had ended before, or where the execution is of another version by now.
with held as materialized (
    select id from engine.executions where id = %(execution_id)s and xmin = %(version)s::xid for update
), ended as (
    update engine.attempts set ended_at = now(), outcome = 'done'
     where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s and number = %(number)s
       and ended_at is null and exists (select from held)
    returning number
), finished as (
    update engine.steps
       set state = %(state)s, finished_at = now(), token = null, facts = %(facts)s, found = %(found)s, error = null,
           error_code = null
     where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s and exists (select from ended)
), told as (
    insert into engine.history (execution_id, event_id, type, step, attempt, details)
    select %(execution_id)s,
           1 + coalesce((select max(event_id) from engine.history where execution_id = %(execution_id)s), 0),
           %(event)s, %(step)s, number, %(details)s
      from ended
), described as (
    update tenant_management.tenants set metadata = metadata || %(metadata)s::jsonb
     where id = %(tenant_id)s and %(metadata)s::jsonb is not null and exists (select from ended)
)
select exists (select from held) as held,
       exists (select from engine.attempts
                where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s and number = %(number)s
                  and ended_at is not null) as before;

-- name: close_attempt
update engine.attempts
   set ended_at = now(), outcome = %(outcome)s, error = %(error)s, error_code = %(error_code)s, lost = %(lost)s
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s and number = %(number)s
   and ended_at is null;

-- name: ended_attempt
select outcome from engine.attempts
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s and number = %(number)s
   and ended_at is not null;

-- name: count_failure
-- A run that has been replaced may still report that a call of its own was lost; it counts for nothing else.
update engine.steps
   set lost = lost or %(lost)s,
       answered = case when run_id = %(run_id)s then answered + %(answered)s else answered end,
       error = case when run_id = %(run_id)s then %(error)s else error end,
       error_code = case when run_id = %(run_id)s then %(error_code)s else error_code end,
       token = case when run_id = %(run_id)s and %(answered)s > 0 then null else token end
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: step_waits
update engine.steps set state = 'waiting', token = %(token)s
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: finish_step
update engine.steps
   set state = %(state)s, finished_at = now(), token = null, facts = %(facts)s, found = %(found)s, error = null,
       error_code = null
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: fail_step
update engine.steps
   set state = %(state)s, finished_at = now(), error = %(error)s, error_code = %(error_code)s, found = %(found)s
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: found_of
select number, step, found from engine.steps where execution_id = %(execution_id)s and side = 'do' order by number;

-- name: failing_undo
select step, error, found, number from engine.steps
 where execution_id = %(execution_id)s and side = 'undo' and state = 'failed' order by number desc;

-- name: looked_too_early
-- Undo sides that have last looked when a lost call of their step could still take effect.
select u.step from engine.steps u
  join engine.steps d on d.execution_id = u.execution_id and d.side = 'do' and d.step = u.step
 where u.execution_id = %(execution_id)s and u.side = 'undo' and u.state in ('done', 'failed') and (d.lost or u.lost)
   and (select max(a.started_at) from engine.attempts a
         where a.execution_id = u.execution_id and a.side = 'undo' and a.step = u.step) < %(until)s;

-- name: undo_once_more
-- Before another pass of a rollback: what a lost call may have brought back is undone again, like what has failed. Its
-- time begins with its next attempt, however long the pause between the passes is.
update engine.steps u
   set state = 'failed', found = '[]', error = 'A call without an answer may still take effect', error_code = 'Lost'
  from engine.steps d
 where u.execution_id = %(execution_id)s and u.side = 'undo' and u.state = 'done'
   and d.execution_id = u.execution_id and d.side = 'do' and d.step = u.step and (d.lost or u.lost)
returning u.step;
