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
