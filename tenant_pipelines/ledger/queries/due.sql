-- name: due
-- Everything that needs a push now or within a second, soonest first: lost workers, parked steps, and executions for
-- which nobody acts. One statement, so that looking costs next to nothing while nothing is due.
with open as (
    select e.id, e.parked_at is not null as parked, case
        when e.state = 'rollback_due' then e.updated_at
        when e.parked_at is not null then e.wake_at
        when e.next_undo_at is not null then e.next_undo_at
        when e.waiting_until is not null then e.waiting_until
        when l.state = 'ended' then l.ended_at
        when l.run_id is null then e.updated_at + make_interval(secs => %(unmade)s)
        end as at
      from engine.executions e left join engine.launches l on l.run_id = e.run_id
     where e.closed_at is null
)
select 'lost' as what, run_id as id, 0.0::double precision as seconds from engine.launches where state = 'lost'
union all
select case when parked then 'parked' else 'execution' end, id, extract(epoch from at - now())::double precision
  from open where at <= now() + interval '1 second'
 order by seconds
 limit %(limit)s;
