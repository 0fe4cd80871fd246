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
