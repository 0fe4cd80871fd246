create or replace function tenant_management.create_tenant_schema(tenant_key text) returns void language plpgsql as $$ begin end $$;
