-- Generated from the migrations (make docs). Restores schema objects, the function, owners, search path and
-- grants on a database in use; touches no row. To be run by the database's administrator.

-- The control plane's own tables: tenants and what belongs to them.
-- Every statement may be run again on a database in use: it restores objects and touches no row.

create schema if not exists tenant_management;
comment on schema tenant_management is 'tenants, contacts, subscriptions, resources; managedBy=tenant-pipelines';

create table if not exists tenant_management.tenants (
    id          uuid primary key default gen_random_uuid(),
    key         text not null check (key ~ '^[a-z][a-z0-9]{1,29}$'),
    name        text not null check (length(name) between 1 and 200),
    status      smallint not null default 1 check (status between 0 and 8),
    tier        text not null check (tier in ('pooled', 'bridge', 'silo')),
    domains     text[] not null default '{}',
    metadata    jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
    created_on  timestamptz not null default now(),
    modified_on timestamptz not null default now()
);
create unique index if not exists tenants_key on tenant_management.tenants (key) where status <> 8;
create index if not exists tenants_status on tenant_management.tenants (status);
create index if not exists tenants_created on tenant_management.tenants (created_on desc, id);

-- A domain belongs to one living tenant; kept by a trigger on tenants.
create table if not exists tenant_management.domains (
    domain    text primary key,
    tenant_id uuid not null references tenant_management.tenants on delete cascade
);
create index if not exists domains_tenant on tenant_management.domains (tenant_id);

create table if not exists tenant_management.contacts (
    id         uuid primary key default gen_random_uuid(),
    tenant_id  uuid not null references tenant_management.tenants on delete cascade,
    first_name text not null default '',
    last_name  text not null default '',
    email      text not null check (length(email) <= 254),
    is_primary boolean not null default false,
    created_on timestamptz not null default now()
);
create index if not exists contacts_tenant on tenant_management.contacts (tenant_id);

create table if not exists tenant_management.subscriptions (
    id         uuid primary key default gen_random_uuid(),
    tenant_id  uuid not null references tenant_management.tenants on delete cascade,
    plan_id    text not null,
    created_on timestamptz not null default now()
);
create index if not exists subscriptions_tenant on tenant_management.subscriptions (tenant_id);

create table if not exists tenant_management.resources (
    id                  uuid primary key default gen_random_uuid(),
    tenant_id           uuid not null references tenant_management.tenants on delete cascade,
    type                text not null,
    external_identifier text not null,
    metadata            jsonb not null default '{}',
    created_on          timestamptz not null default now(),
    unique (tenant_id, type, external_identifier)
);

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

-- The rules that hold whoever writes: the engine, an operator's SQL, another program.

-- The one table of transitions; a test compares it with the domain's.
create or replace function engine.may_change(old_status smallint, new_status smallint) returns boolean
language sql immutable as $$
    select old_status = new_status or (old_status, new_status) in (
        (1, 2), (1, 4), (2, 0), (2, 3), (2, 7), (3, 1), (3, 2), (3, 4), (3, 6), (6, 1), (6, 2), (6, 4), (6, 7),
        (7, 1), (7, 2), (7, 4), (0, 4), (4, 0), (4, 5), (4, 8), (5, 4)
    )
$$;

create or replace function engine.status_name(status smallint) returns text language sql immutable as $$
    select (array['ACTIVE', 'PENDING_PROVISION', 'PROVISIONING', 'PROVISION_FAILED', 'DEPROVISIONING', 'INACTIVE',
                  'QUEUED_FOR_RETRY', 'PROVISION_CANCELLED', 'DEPROVISIONED'])[status + 1]
$$;

-- The engine announces itself with set_config('engine.acting', 'on', true) and is held to the table; an operator's
-- SQL may set any status while nothing of the tenant runs, and is recorded.
create or replace function engine.guard_tenant() returns trigger language plpgsql
security definer set search_path = pg_catalog, engine, tenant_management as $$
declare
    acting boolean := coalesce(current_setting('engine.acting', true), '') = 'on';
    running text;
begin
    new.modified_on := now();
    if new.status is distinct from old.status then
        if acting then
            if not engine.may_change(old.status, new.status) then
                raise exception 'tenant % may not change from % to %', old.key,
                    engine.status_name(old.status), engine.status_name(new.status) using errcode = '23514';
            end if;
        else
            select workflow_id into running from engine.executions where tenant_id = old.id and closed_at is null;
            if running is not null then
                raise exception 'the status of tenant % cannot be changed while its workflow % runs', old.key, running
                    using errcode = '55006',
                          hint = format('Wait for its end, or cancel it: tenant-pipelines workflow signal %s %s', running,
                                        'provisioningCancelled');
            end if;
            insert into engine.operator_actions (performed_by, source, action, outcome, tenant_id, changes)
            values (session_user, 'sql', 'set_status', 'done', old.id, jsonb_build_object('status',
                jsonb_build_object('old', engine.status_name(old.status), 'new', engine.status_name(new.status))));
        end if;
        new.metadata := new.metadata || jsonb_build_object('lastStatusUpdate',
            to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
    end if;
    if not acting and old.metadata->'requiresManualCleanup' = 'true' and new.metadata->'requiresManualCleanup' = 'false' then
        update engine.left_behind set resolved_at = now(), resolved_by = session_user
         where tenant_id = old.id and resolved_at is null;
        insert into engine.operator_actions (performed_by, source, action, outcome, tenant_id, changes)
        values (session_user, 'sql', 'resolve_left_behind', 'done', old.id, '{}');
    end if;
    return new;
end $$;
create or replace trigger guard_tenant before update on tenant_management.tenants
    for each row execute function engine.guard_tenant();

create or replace function engine.keep_domains() returns trigger language plpgsql
security definer set search_path = pg_catalog, engine, tenant_management as $$
begin
    delete from tenant_management.domains where tenant_id = new.id;
    if new.status <> 8 then
        insert into tenant_management.domains (domain, tenant_id) select distinct lower(d), new.id from unnest(new.domains) d;
    end if;
    return null;
end $$;
create or replace trigger keep_domains_insert after insert on tenant_management.tenants
    for each row when (new.domains <> '{}') execute function engine.keep_domains();
create or replace trigger keep_domains_update after update on tenant_management.tenants
    for each row when (old.domains is distinct from new.domains or (old.status = 8) <> (new.status = 8))
    execute function engine.keep_domains();

-- Who may do what. Passwords are given by whoever installs the database; no role can log in until then.
--   control_plane  the ledger's login: rows of tenant_management and engine, no objects, no roles
--   provisioner    makes and removes tenants' schemas and roles
--   tenant_owner   owns the tenants' schemas and the function that makes them; nobody logs in as it

do $$
declare
    wanted text;
begin
    foreach wanted in array array['tenant_owner', 'control_plane', 'provisioner'] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I nologin', wanted);
        end if;
    end loop;
    alter role provisioner createrole;
    execute format('grant create, connect on database %I to tenant_owner', current_database());
    execute format('grant connect on database %I to control_plane, provisioner', current_database());
    execute format('revoke create, temporary on database %I from public', current_database());
    execute format('alter database %I set search_path = "$user", public, tenant_management', current_database());
end $$;

grant tenant_owner to provisioner with inherit true, set true;

grant usage on schema tenant_management, engine to control_plane;
grant select, insert, update, delete on all tables in schema tenant_management to control_plane;
grant select, insert, update, delete on all tables in schema engine to control_plane;
revoke update, delete on engine.operator_actions from control_plane;
grant usage on schema tenant_management to tenant_owner, provisioner;
grant select (id, key, status) on tenant_management.tenants to tenant_owner, provisioner;
revoke all on schema public from public;

-- Makes, or completes, the schema of one tenant. Step 4 of provisioning calls it, and an operator may:
--     select create_tenant_schema('acme');
--
-- It runs with the rights of its owner, tenant_owner, so that every tenant's schema has the same owner whoever calls.
-- tenant_owner needs CREATE on the database and SELECT on (id, key, status) of tenant_management.tenants, nothing else;
-- a caller needs EXECUTE only. The role that lets the tenant's application in is the adapter's business, not ours.
--
-- The schema carries our mark as its comment: 'managedBy=tenant-pipelines tenantId=... tenantKey=...'. One that is
-- there without exactly this comment is left as it is.
--
-- Errors (SQLSTATE): 22023 the key is malformed; P0002 no living tenant has it; 42P06 the schema is not ours.

create or replace function tenant_management.create_tenant_schema(tenant_key text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    schema_name constant text := 'tenant_' || tenant_key;
    tenant_id uuid;
    mark text;
begin
    if tenant_key is null or tenant_key !~ '^[a-z][a-z0-9]{1,29}$' then
        raise exception 'a tenant key is 2 to 30 lower-case letters and digits and begins with a letter'
            using errcode = 'invalid_parameter_value';
    end if;
    select tenants.id into tenant_id
      from tenant_management.tenants
     where tenants.key = create_tenant_schema.tenant_key and tenants.status <> 8;  -- 8: DEPROVISIONED, the key is free
    if not found then
        raise exception 'no tenant has the key %', tenant_key using errcode = 'no_data_found';
    end if;
    mark := format('managedBy=tenant-pipelines tenantId=%s tenantKey=%s', tenant_id, tenant_key);

    -- Two callers at once: the second waits here and then finds the first one's work.
    perform pg_advisory_xact_lock(hashtextextended('create_tenant_schema ' || tenant_key, 0));
    if to_regnamespace(schema_name) is null then
        execute format('create schema %I', schema_name);
        execute format('comment on schema %I is %L', schema_name, mark);
    elsif obj_description(to_regnamespace(schema_name), 'pg_namespace') is distinct from mark then
        raise exception 'schema % exists and does not belong to tenant %', schema_name, tenant_key
            using errcode = 'duplicate_schema';
    end if;

    -- From here on names mean objects of the tenant's schema; the setting ends with the function.
    perform set_config('search_path', format('%I, pg_temp', schema_name), true);

    create table if not exists users (
        id          uuid primary key default gen_random_uuid(),
        identity_id text unique,                      -- the identity provider's subject, once the user has logged in
        email       text not null check (length(email) <= 254),
        first_name  text not null default '',
        last_name   text not null default '',
        role        text not null default 'member' check (role in ('owner', 'admin', 'member', 'viewer')),
        active      boolean not null default true,
        created_on  timestamptz not null default now(),
        modified_on timestamptz not null default now()
    );
    create unique index if not exists users_email on users (lower(email));

    create table if not exists settings (
        name        text primary key,
        value       jsonb not null,
        modified_by uuid references users on delete set null,
        modified_on timestamptz not null default now()
    );
    create index if not exists settings_modified_by on settings (modified_by);

    create table if not exists categories (
        id         uuid primary key default gen_random_uuid(),
        parent_id  uuid references categories on delete restrict,
        slug       text not null unique,
        name       text not null,
        created_on timestamptz not null default now(),
        check (parent_id <> id)
    );
    create index if not exists categories_parent on categories (parent_id);

    create table if not exists products (
        id          uuid primary key default gen_random_uuid(),
        category_id uuid references categories on delete set null,
        sku         text not null unique,
        name        text not null,
        description text not null default '',
        unit_price  numeric(14, 2) not null check (unit_price >= 0),
        currency    text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),  -- ISO 4217
        active      boolean not null default true,
        created_on  timestamptz not null default now(),
        modified_on timestamptz not null default now()
    );
    create index if not exists products_category on products (category_id);

    create table if not exists customers (
        id          uuid primary key default gen_random_uuid(),
        name        text not null,
        email       text check (length(email) <= 254),
        phone       text,
        address     jsonb not null default '{}' check (jsonb_typeof(address) = 'object'),
        created_on  timestamptz not null default now(),
        modified_on timestamptz not null default now()
    );
    create index if not exists customers_email on customers (lower(email));

    create table if not exists orders (
        id          uuid primary key default gen_random_uuid(),
        number      bigint generated always as identity unique,
        customer_id uuid not null references customers on delete restrict,
        status      text not null default 'draft'
                    check (status in ('draft', 'placed', 'paid', 'shipped', 'delivered', 'cancelled', 'refunded')),
        currency    text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
        placed_on   timestamptz,
        created_on  timestamptz not null default now(),
        modified_on timestamptz not null default now()
    );
    create index if not exists orders_customer on orders (customer_id, placed_on desc);
    create index if not exists orders_status on orders (status);

    create table if not exists order_items (
        order_id   uuid not null references orders on delete cascade,
        line       integer not null check (line > 0),
        product_id uuid not null references products on delete restrict,
        quantity   numeric(14, 3) not null check (quantity > 0),
        unit_price numeric(14, 2) not null check (unit_price >= 0),  -- as sold: the product's price may change later
        primary key (order_id, line)
    );
    create index if not exists order_items_product on order_items (product_id);

    create table if not exists files (
        id           uuid primary key default gen_random_uuid(),
        storage_key  text not null unique,            -- the object's key in the tenant's bucket
        name         text not null,
        content_type text not null default 'application/octet-stream',
        bytes        bigint not null check (bytes >= 0),
        sha256       bytea check (length(sha256) = 32),
        uploaded_by  uuid references users on delete set null,
        created_on   timestamptz not null default now()
    );
    create index if not exists files_uploaded_by on files (uploaded_by);
end $$;

alter function tenant_management.create_tenant_schema(text) owner to tenant_owner;
revoke all on function tenant_management.create_tenant_schema(text) from public;
grant execute on function tenant_management.create_tenant_schema(text) to provisioner;

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

-- The archive: executions that have left the ledger's tables, each as one document. The ledger of a living tenant stays
-- where it is; of its older executions only attempts, history and signals move (they are "thinned").

alter table engine.executions add column if not exists thinned_at timestamptz;
alter table engine.executions add column if not exists redacted_at timestamptz;
comment on column engine.executions.thinned_at is 'since when its attempts, history and signals are in the archive';
comment on column engine.executions.redacted_at is 'since when it holds no personal data';
create index if not exists executions_closed on engine.executions (closed_at, id) where closed_at is not null;

-- The key of a tenant that is gone too: `tenants_key` knows only the living ones.
create index if not exists tenants_by_key on tenant_management.tenants (key);
create index if not exists tenants_gone on tenant_management.tenants (created_on, id) where status = 8;

-- What an execution leaves behind it when it goes: asked at every delete, for the foreign keys.
create index if not exists left_behind_execution on engine.left_behind (execution_id);
create index if not exists owed_execution on engine.owed (execution_id);

create table if not exists engine.archive (
    execution_id  uuid primary key,
    workflow_id   text not null,
    workflow_type text not null,
    tenant_id     uuid not null references tenant_management.tenants,
    tenant_key    text not null,
    generation    integer not null,
    state         text not null,
    failed_step   text,
    started_at    timestamptz not null,
    closed_at     timestamptz not null,
    whole         boolean not null,
    archived_at   timestamptz not null default now(),
    redacted_at   timestamptz,
    document      jsonb not null
);
comment on column engine.archive.whole is 'nothing of the execution is in the ledger any more; false: it was thinned';
comment on column engine.archive.document is 'every row of the execution, by table, as it was';
create index if not exists archive_newest on engine.archive (workflow_id, generation desc);
create index if not exists archive_of_tenant on engine.archive (tenant_id, generation desc);
create index if not exists archive_started on engine.archive (started_at desc, execution_id) where whole;
create index if not exists archive_closed on engine.archive (closed_at, execution_id) where whole;
create index if not exists archive_personal on engine.archive (closed_at, execution_id) where redacted_at is null;

-- Everything that the ledger has of one execution, by table.
create or replace function engine.document_of(execution engine.executions) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'execution', to_jsonb(execution),
        'runs', coalesce((select jsonb_agg(to_jsonb(r) order by r.number)
                            from engine.runs r where r.execution_id = execution.id), '[]'),
        'steps', coalesce((select jsonb_agg(to_jsonb(s) order by s.side, s.number)
                             from engine.steps s where s.execution_id = execution.id), '[]'),
        'attempts', coalesce((select jsonb_agg(to_jsonb(a) order by a.started_at, a.side, a.step, a.number)
                                from engine.attempts a where a.execution_id = execution.id), '[]'),
        'history', coalesce((select jsonb_agg(to_jsonb(h) order by h.event_id)
                               from engine.history h where h.execution_id = execution.id), '[]'),
        'signals', coalesce((select jsonb_agg(to_jsonb(g) order by g.received_at, g.name, g.dedupe_key)
                               from engine.signals g where g.execution_id = execution.id), '[]'),
        'left_behind', coalesce((select jsonb_agg(to_jsonb(l) order by l.system, l.kind, l.object_id)
                                   from engine.left_behind l where l.execution_id = execution.id), '[]'),
        'owed', coalesce((select jsonb_agg(to_jsonb(o) order by o.step)
                            from engine.owed o where o.execution_id = execution.id), '[]'))
$$;

-- What decides which part of a closed execution may go. Its `newest`: of its workflow, which is what an id alone means.
create or replace view engine.closed_executions as
select e.id, e.closed_at, t.status = 8 as gone,
       e.generation = (select n.generation from engine.executions n
                        where n.workflow_id = e.workflow_id order by n.generation desc limit 1) as newest,
       e.thinned_at is not null as thinned,
       e.redacted_at is not null as redacted,
       (select l.execution_id from engine.left_behind l
         where l.execution_id = e.id and l.resolved_at is null limit 1) is not null as needed
  from engine.executions e join tenant_management.tenants t on t.id = e.tenant_id
 where e.closed_at is not null;

-- Should an operator bring a tenant back whose executions are archived: no idempotency key of theirs is used again.
create or replace function engine.after_the_archived() returns trigger language plpgsql as $$
begin
    new.generation := greatest(new.generation,
        1 + coalesce((select max(generation) from engine.archive where tenant_id = new.tenant_id), 0));
    return new;
end $$;
create or replace trigger after_the_archived before insert on engine.executions
    for each row execute function engine.after_the_archived();

grant select, insert, update, delete on engine.archive to control_plane;
grant select on engine.closed_executions to control_plane;

-- Who may call itself the engine. A setting of a session can be made by anybody who can connect, a role cannot: whoever
-- is not control_plane, or a member of it, and says that it is the engine is refused. Its own name for what it does is
-- its session's; then it is an operator, whose changes are recorded.
create or replace function engine.check_actor() returns trigger language plpgsql
security definer set search_path = pg_catalog as $$
begin
    if not pg_has_role(session_user, 'control_plane', 'member') then
        raise exception 'role % is not the engine: only control_plane may set engine.acting', session_user
            using errcode = '42501', hint = 'Leave it alone (reset engine.acting): your change is then recorded as yours.';
    end if;
    return new;
end $$;
-- Triggers of a kind run in the order of their names: before guard_tenant.
create or replace trigger actor_of_tenant before update on tenant_management.tenants
    for each row when (current_setting('engine.acting', true) = 'on') execute function engine.check_actor();
