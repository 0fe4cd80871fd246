-- Waits that hold no worker.

-- name: park_execution
-- From now on no run may act for it, until it is woken.
update engine.executions
   set parked_step = %(step)s, parked_side = %(side)s, parked_at = clock_timestamp(), updated_at = now(),
       wake_at = clock_timestamp() + make_interval(secs => %(wake_in)s), message = %(message)s
 where id = %(id)s
returning id, parked_step, parked_side, parked_at, wake_at, message, workflow_id;

-- name: park_step
-- What the side waits for is found again by its token; a side without one is begun anew.
update engine.steps
   set state = 'waiting', token = %(token)s, look_every = %(look_every)s, look_until = %(look_until)s
 where execution_id = %(execution_id)s and side = %(side)s and step = %(step)s;

-- name: wake_execution
-- Exactly one caller wins. The run that had parked and the number of runs are what the caller has seen.
update engine.executions e
   set run_id = %(run_id)s, parked_step = null, parked_side = null, parked_at = null, wake_at = null, losses = 0,
       message = 'Waiting for a worker', updated_at = now()
 where e.id = %(id)s and e.closed_at is null and e.parked_at is not null and e.run_id = %(parked_run_id)s
   and (select count(*) from engine.runs r where r.execution_id = e.id) = %(runs)s
returning *;

-- name: insert_woken_run
insert into engine.runs (run_id, execution_id, kind, number, parked_step)
select %(run_id)s, %(execution_id)s, %(kind)s, 1 + count(*), %(step)s
  from engine.runs where execution_id = %(execution_id)s
on conflict (run_id) do nothing;

-- name: parked_step_of_run
select parked_step from engine.runs where run_id = %(run_id)s;

-- name: due_parked
-- What is to be woken or looked at, longest overdue first, with what a look needs; and what will be within a second.
select e.*, e.wake_at <= now() as due, s.token, s.look_every, s.look_until, coalesce(p.names, '{}') as names
  from engine.executions e
  left join engine.steps s on s.execution_id = e.id and s.side = e.parked_side and s.step = e.parked_step
  left join engine.placements p on p.tenant_id = e.tenant_id
 where e.wake_at <= now() + interval '1 second'
 order by e.wake_at
 limit %(limit)s;

-- name: look_later
-- Only where nobody has moved the time meanwhile, as a cancel does.
update engine.executions e
   set wake_at = clock_timestamp() + make_interval(secs => l.seconds)
  from unnest(%(ids)s::uuid[], %(seen)s::timestamptz[], %(seconds)s::double precision[]) as l(id, seen, seconds)
 where e.id = l.id and e.wake_at = l.seen
returning e.id, e.wake_at;
