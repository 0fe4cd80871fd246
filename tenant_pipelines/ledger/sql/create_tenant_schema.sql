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
