-- The queue between whoever launches a Dagster run and the warm worker that carries it out.

create sequence if not exists engine.leases;

-- A row outlives launcher, worker, supervisor and machine: a launch that was accepted is never lost.
create table if not exists engine.launches (
    run_id         uuid primary key,
    format         smallint not null default 1 check (format > 0),
    job            text not null,
    state          text not null default 'queued' check (state in ('queued', 'taken', 'ended', 'lost')),
    lease          bigint,
    pool           uuid,
    worker_pid     integer,
    worker_started double precision,
    queued_at      timestamptz not null default clock_timestamp(),
    taken_at       timestamptz,
    ended_at       timestamptz,
    wish           text check (wish in ('interrupt')),
    wished_at      timestamptz,
    outcome        text,
    check (state not in ('taken', 'lost') or (lease is not null and pool is not null and worker_pid is not null)),
    check ((ended_at is not null) = (state = 'ended'))
);
comment on column engine.launches.format is 'of the row; a worker leaves a newer one than it knows to a newer worker';
comment on column engine.launches.lease is 'a new number each time the run is taken; whoever acts on the run must hold it';
comment on column engine.launches.worker_started is 'when that process started, in clock ticks since boot: its identity with its pid';
create index if not exists launches_queued on engine.launches (queued_at, run_id) where state = 'queued';
create index if not exists launches_held on engine.launches (state, lease) where state in ('taken', 'lost');
create index if not exists launches_ended on engine.launches (ended_at) where state = 'ended';

grant select, insert, update, delete on engine.launches to control_plane;
grant usage on sequence engine.leases to control_plane;
