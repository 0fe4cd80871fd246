-- The ledger: what every execution intended, did, and still has to do.

create schema if not exists engine;
comment on schema engine is 'the ledger of workflow executions; managedBy=tenant-pipelines';

create table if not exists engine.executions (
    id                uuid primary key,
    workflow_id       text not null,
    workflow_type     text not null,
    tenant_id         uuid not null references tenant_management.tenants,
    tenant_key        text not null,
    tier              text not null,
    generation        integer not null check (generation > 0),
    catalogue_version integer not null,
    state             text not null check (state in
        ('forward', 'rollback_due', 'rolling_back', 'completed', 'failed', 'cancelled', 'terminated')),
    run_id            uuid not null,
    step              text,
    progress          smallint not null default 0 check (progress between 0 and 100),
    message           text not null default '',
    input             jsonb not null default '{}',
    result            jsonb,
    error             text,
    error_code        text,
    failed_step       text,
    transient         boolean not null default false,
    requested_by      text not null,
    reason            text,
    cancel_requested_at timestamptz,
    cancel_requested_by text,
    cancel_reason     text,
    waiting_until     timestamptz,
    rollback_claimed_by text,
    rollback_claimed_at timestamptz,
    undo_failing_since timestamptz,
    next_undo_at      timestamptz,
    sweep_until       timestamptz,
    losses            integer not null default 0,
    started_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    closed_at         timestamptz,
    check ((closed_at is not null) = (state in ('completed', 'failed', 'cancelled', 'terminated'))),
    unique (tenant_id, generation)
);
-- The lock: one running execution per tenant, whatever door it came through.
create unique index if not exists executions_running on engine.executions (tenant_id) where closed_at is null;
create index if not exists executions_open on engine.executions (state, next_undo_at) where closed_at is null;
create index if not exists executions_newest on engine.executions (workflow_id, generation desc);
create index if not exists executions_started on engine.executions (started_at desc, id);

-- Which Dagster runs belong to which execution; an execution may have several.
create table if not exists engine.runs (
    run_id       uuid primary key,
    execution_id uuid not null references engine.executions,
    kind         text not null check (kind in ('forward', 'continuation', 'rollback')),
    number       integer not null,
    created_at   timestamptz not null default now(),
    unique (execution_id, number)
);

create table if not exists engine.steps (
    execution_id uuid not null references engine.executions,
    side         text not null check (side in ('do', 'undo')),
    step         text not null,
    number       smallint not null,
    state        text not null check (state in ('started', 'waiting', 'done', 'failed', 'skipped', 'owed')),
    run_id       uuid not null,
    started_at   timestamptz not null default now(),
    finished_at  timestamptz,
    tries        integer not null default 0,
    answered     integer not null default 0,
    losses       integer not null default 0,
    token        jsonb,
    facts        jsonb not null default '{}',
    found        jsonb not null default '[]',
    error        text,
    error_code   text,
    lost         boolean not null default false,
    primary key (execution_id, side, step)
);

create table if not exists engine.attempts (
    execution_id uuid not null references engine.executions,
    side         text not null,
    step         text not null,
    number       integer not null,
    run_id       uuid not null,
    started_at   timestamptz not null default now(),
    ended_at     timestamptz,
    outcome      text check (outcome in ('done', 'waiting', 'outage', 'answered', 'permanent', 'stopped')),
    error        text,
    error_code   text,
    lost         boolean not null default false,
    primary key (execution_id, side, step, number)
);

create table if not exists engine.history (
    execution_id uuid not null references engine.executions,
    event_id     integer not null,
    at           timestamptz not null default now(),
    type         text not null,
    step         text,
    attempt      integer,
    details      jsonb not null default '{}',
    primary key (execution_id, event_id)
);

-- The names under which a tenant's things were made: decided before the effect, used again by the undo.
create table if not exists engine.placements (
    tenant_id uuid primary key references tenant_management.tenants,
    names     jsonb not null default '{}'
);

create table if not exists engine.left_behind (
    tenant_id    uuid not null references tenant_management.tenants,
    system       text not null,
    kind         text not null,
    object_id    text not null,
    name         text not null,
    step         text not null,
    reason       text not null,
    execution_id uuid not null references engine.executions,
    listed_at    timestamptz not null default now(),
    resolved_at  timestamptz,
    resolved_by  text,
    primary key (tenant_id, system, kind, object_id)
);

create table if not exists engine.owed (
    tenant_id    uuid not null references tenant_management.tenants,
    step         text not null,
    execution_id uuid not null references engine.executions,
    since        timestamptz not null default now(),
    settled_at   timestamptz,
    primary key (tenant_id, step, execution_id)
);

create table if not exists engine.signals (
    execution_id uuid not null references engine.executions,
    name         text not null,
    dedupe_key   text not null,
    payload      jsonb not null,
    received_by  text not null,
    received_at  timestamptz not null default now(),
    primary key (execution_id, name, dedupe_key)
);

-- Append-only: who did what, when, why, and what changed.
create table if not exists engine.operator_actions (
    id           bigint generated always as identity primary key,
    at           timestamptz not null default now(),
    performed_by text not null,
    source       text not null,
    action       text not null,
    outcome      text not null,
    tenant_id    uuid,
    workflow_id  text,
    run_id       uuid,
    reason       text,
    request_id   text,
    changes      jsonb not null default '{}'
);
create index if not exists operator_actions_tenant on engine.operator_actions (tenant_id, at desc);

create or replace function engine.append_only() returns trigger language plpgsql as $$
begin
    raise exception 'engine.% is append-only', tg_table_name using errcode = '42501';
end $$;
create or replace trigger append_only before update or delete on engine.operator_actions
    for each row execute function engine.append_only();
create or replace trigger never_emptied before truncate on engine.operator_actions
    for each statement execute function engine.append_only();
