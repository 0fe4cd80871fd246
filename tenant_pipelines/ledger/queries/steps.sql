-- name: step_of
select * from engine.steps where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: steps_of
select * from engine.steps where execution_id = %(execution_id)s order by side, number;

-- name: unfinished_before
-- The steps before this one that are not behind us: a run may not jump over them.
select count(*) as settled from engine.steps
 where execution_id = %(execution_id)s and side = 'do' and number < %(number)s and state in ('done', 'skipped', 'owed');

-- name: start_step
insert into engine.steps (execution_id, side, step, number, state, run_id)
values (%(execution_id)s, %(side)s, %(step)s, %(number)s, 'started', %(run_id)s)
on conflict (execution_id, side, step) do update
   set state = case when steps.state = 'waiting' then 'waiting' else 'started' end,
       run_id = excluded.run_id,
       started_at = case when steps.state in ('started', 'waiting') then steps.started_at else now() end,
       answered = case when steps.state in ('started', 'waiting') then steps.answered else 0 end,
       token = case when steps.state in ('started', 'waiting') then steps.token end,
       finished_at = null, error = null, error_code = null
returning *;

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

-- name: facts_of
select facts from engine.steps
 where execution_id = %(execution_id)s and side = 'do' and state in ('done', 'waiting') order by number;

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
-- Before another pass of a rollback: what failed, and what a lost call may have brought back, is undone again.
update engine.steps u set state = 'started', started_at = now(), answered = 0, token = null
  from engine.steps d
 where u.execution_id = %(execution_id)s and u.side = 'undo' and u.state in ('done', 'failed')
   and d.execution_id = u.execution_id and d.side = 'do' and d.step = u.step and (d.lost or u.lost or u.state = 'failed')
returning u.step;
