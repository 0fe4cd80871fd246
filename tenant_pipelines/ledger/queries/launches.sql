-- name: add_launch
-- Again with the same run: nothing. Workers are told either way.
insert into engine.launches (run_id, format, job) values (%(run_id)s, %(format)s, %(job)s) on conflict do nothing;

-- name: announce_launch
select pg_notify('engine_launches', 'queued');

-- name: announce_wish
select pg_notify('engine_launches', 'wish');

-- name: announce_lost
select pg_notify('engine_wake', 'lost');

-- name: take_launch
-- The oldest one that nobody else is taking. A worker holds one run at most: what is taken in its name already is what
-- it took when the answer was lost, and comes first.
with mine as (
    select run_id from engine.launches
     where state = 'taken' and pool = %(pool)s and worker_pid = %(pid)s and worker_started = %(started)s
), oldest as materialized (
    select run_id from engine.launches
     where state = 'queued' and format <= %(format)s and not exists (select from mine)
     order by queued_at, run_id
     limit 1 for update skip locked
), next as (
    select run_id from mine union all select run_id from oldest
)
update engine.launches l
   set state = 'taken', lease = nextval('engine.leases'), pool = %(pool)s, worker_pid = %(pid)s,
       worker_started = %(started)s, taken_at = clock_timestamp()
  from next where l.run_id = next.run_id
returning l.run_id, l.lease, l.job;

-- name: end_launch
-- Once more with the same outcome: the same answer, for whoever has not heard it.
update engine.launches set state = 'ended', ended_at = coalesce(ended_at, clock_timestamp()), outcome = %(outcome)s
 where run_id = %(run_id)s and lease = %(lease)s
   and (state = 'taken' or (state = 'ended' and outcome = %(outcome)s))
returning run_id;

-- name: lock_launch
select * from engine.launches where run_id = %(run_id)s for update;

-- name: remove_launch
update engine.launches set state = 'ended', ended_at = clock_timestamp(), outcome = 'removed'
 where run_id = %(run_id)s and state = 'queued';

-- name: wish_interrupt
update engine.launches set wish = 'interrupt', wished_at = coalesce(wished_at, clock_timestamp())
 where run_id = %(run_id)s and state = 'taken';

-- name: lock_lease
-- While it is locked its run cannot end, nor its worker take the next one.
select run_id from engine.launches where run_id = %(run_id)s and lease = %(lease)s and state = 'taken' for update;

-- name: give_up_launch
update engine.launches set state = 'lost'
 where run_id = %(run_id)s and lease = %(lease)s and state = 'taken'
returning run_id;

-- name: settle_lost_launch
update engine.launches set state = 'ended', ended_at = clock_timestamp(), outcome = 'lost'
 where run_id = %(run_id)s and state = 'lost'
returning run_id;

-- name: put_back_launch
-- Its worker was lost before the run began: it is queued again, in its old place.
update engine.launches
   set state = 'queued', pool = null, worker_pid = null, worker_started = null, taken_at = null, wish = null,
       wished_at = null
 where run_id = %(run_id)s and state = 'lost'
returning run_id;

-- name: launches_in_state
select * from engine.launches where state = %(state)s order by lease limit %(limit)s;

-- name: launch_of
select * from engine.launches where run_id = %(run_id)s;

-- name: launch_of_worker
select * from engine.launches
 where state = 'taken' and pool = %(pool)s and worker_pid = %(pid)s and worker_started = %(started)s;

-- name: launches_wished
select * from engine.launches where state = 'taken' and wish is not null order by lease;

-- name: count_queued
-- Counted no further than anybody needs to know.
select count(*) as n from (select from engine.launches where state = 'queued' limit %(limit)s) as waiting;

-- name: lock_waiting_launches
select run_id from engine.launches where state = 'queued' order by queued_at, run_id limit %(limit)s
   for update skip locked;

-- name: say_why_they_wait
update engine.executions e set message = %(message)s
  from engine.launches l join engine.runs r on r.run_id = l.run_id
 where l.state = 'queued' and e.id = r.execution_id and e.run_id = l.run_id and e.closed_at is null
   and e.message is distinct from %(message)s;

-- name: newer_launches
select count(*) as n, min(format) as format from engine.launches where state = 'queued' and format > %(format)s;

-- name: hand_over_runs
-- The engine sees it where it sees a cancel, and parks.
update engine.runs set hand_over = true where run_id = any(%(run_ids)s);

-- name: lock_pool
-- Held until the session ends.
select pg_try_advisory_lock(%(lock)s);

-- name: pool_holder
select a.application_name, a.pid
  from pg_locks l join pg_stat_activity a on a.pid = l.pid
 where l.locktype = 'advisory' and l.granted and l.objsubid = 1
   and l.database = (select oid from pg_database where datname = current_database())
   and (l.classid::bigint << 32) + l.objid::bigint = %(lock)s;

-- name: name_session
select set_config('application_name', %(name)s, false);
