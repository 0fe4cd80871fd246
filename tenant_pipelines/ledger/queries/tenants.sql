-- name: insert_tenant
insert into tenant_management.tenants (id, key, name, status, tier, domains)
values (%(id)s, %(key)s, %(name)s, 1, %(tier)s, %(domains)s)
returning id;

-- name: insert_contact
insert into tenant_management.contacts (tenant_id, first_name, last_name, email, is_primary)
values (%(tenant_id)s, %(first_name)s, %(last_name)s, %(email)s, true);

-- name: insert_subscription
insert into tenant_management.subscriptions (tenant_id, plan_id) values (%(tenant_id)s, %(plan_id)s);

-- name: tenant_with_all
-- The tenant with its contacts and its newest subscription.
select t.id, t.key, t.name, t.status, t.tier, t.domains, t.metadata, t.created_on, t.modified_on,
       coalesce((select jsonb_agg(jsonb_build_object('first_name', c.first_name, 'last_name', c.last_name,
                        'email', c.email, 'primary', c.is_primary) order by c.is_primary desc, c.created_on, c.id)
                   from tenant_management.contacts c where c.tenant_id = t.id), '[]') as contacts,
       (select jsonb_build_object('id', s.id, 'plan_id', s.plan_id)
          from tenant_management.subscriptions s where s.tenant_id = t.id
         order by s.created_on desc, s.id limit 1) as subscription
  from tenant_management.tenants t
 where t.id = %(tenant_id)s;

-- name: tenant_id_by_key
-- The living tenant with that key, else the newest that ever had it.
select id from tenant_management.tenants where key = %(key)s order by status = 8, created_on desc limit 1;

-- name: list_tenants
select t.id, t.key, t.name, t.status, t.tier, t.domains, t.metadata, t.created_on, t.modified_on
  from tenant_management.tenants t
 where (%(status)s::smallint is null or t.status = %(status)s)
 order by t.created_on desc, t.id
 limit %(limit)s offset %(offset)s;

-- name: lock_tenant
select id, key, name, status, tier from tenant_management.tenants where id = %(tenant_id)s for update;

-- name: set_status
-- Compare and set; the trigger writes lastStatusUpdate and refuses what the table does not allow.
update tenant_management.tenants
   set status = %(new)s, metadata = (metadata - %(drop)s::text[]) || %(metadata)s
 where id = %(tenant_id)s and status = any(%(old)s)
returning status;

-- name: set_metadata
update tenant_management.tenants set metadata = (metadata - %(drop)s::text[]) || %(metadata)s where id = %(tenant_id)s;

-- name: upsert_resource
insert into tenant_management.resources (tenant_id, type, external_identifier, metadata)
values (%(tenant_id)s, %(type)s, %(external_identifier)s, %(metadata)s)
on conflict (tenant_id, type, external_identifier) do update set metadata = excluded.metadata
returning id, (xmax = 0) as created;

-- name: delete_other_resources
delete from tenant_management.resources
 where tenant_id = %(tenant_id)s and not (type || ' ' || external_identifier) = any(%(kept)s);

-- name: delete_resources
delete from tenant_management.resources where tenant_id = %(tenant_id)s returning id, type, external_identifier;

-- name: resources_of
select id, type, external_identifier, metadata from tenant_management.resources
 where tenant_id = %(tenant_id)s order by type, external_identifier;
