-- The two reserved tenants (the contract, Names): never provisioned, never deprovisioned.

insert into tenant_management.tenants (id, key, name, status, tier, metadata)
values
    ('a0000000-0000-0000-0000-000000000000', 'platform', 'Platform', 0, 'pooled', '{"schemaName": "public"}'),
    ('a0000000-0000-0000-0000-000000000001', 'management', 'Management', 0, 'pooled', '{"schemaName": "tenant_management"}')
on conflict do nothing;
