-- Waits that hold no worker: an execution is parked at a step until it is time to look, and then goes on in another run.

alter table engine.executions
    add column if not exists parked_step text,
    add column if not exists parked_side text check (parked_side in ('do', 'undo')),
    add column if not exists parked_at   timestamptz,
    add column if not exists wake_at     timestamptz
        check (num_nulls(parked_step, parked_side, parked_at, wake_at) in (0, 4));
comment on column engine.executions.parked_at is 'since then no run may act for it, until it is woken';
comment on column engine.executions.wake_at is 'when it is looked at again';
create index if not exists executions_parked on engine.executions (wake_at) where wake_at is not null;

alter table engine.steps
    add column if not exists look_every double precision check (look_every >= 0),
    add column if not exists look_until timestamptz;
comment on column engine.steps.look_every is 'seconds between two looks at what a parked step waits for, at least';
comment on column engine.steps.look_until is 'the end of the time for all attempts of a step that has parked';

alter table engine.runs
    add column if not exists hand_over   boolean not null default false,
    add column if not exists parked_step text;
comment on column engine.runs.hand_over is 'its worker is to be rid of it: it parks where it would see a cancel';
comment on column engine.runs.parked_step is 'the step that had parked, of a run that goes on after a wait';
