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
