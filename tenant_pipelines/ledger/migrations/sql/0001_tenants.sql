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
