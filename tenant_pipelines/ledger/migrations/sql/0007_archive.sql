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
