-- A backlog of @jobs@ queued scans of @tenants@ tenants, in turns, made of the
-- one scan that was accepted while its rows were kept in accepted_scans and
-- accepted_jobs: whatever Accept writes beside ids, tenant and times is copied.
-- Run by one session; foreign keys hold and are not checked row by row.

delete from scans;

set session_replication_role = replica;

insert into tenants (id, name)
select md5('tenant ' || n)::uuid, 'backlog-' || n
from generate_series(0, @tenants@ - 1) n;

insert into scans
select r.*
from accepted_scans a, generate_series(0, @jobs@ - 1) n,
    lateral jsonb_populate_record(a, jsonb_build_object(
        'id', lpad(to_hex(1760000000000 + n), 12, '0') || '70008' || substr(md5('scan ' || n), 1, 15),
        'tenant_id', md5('tenant ' || n % @tenants@),
        'created_at', now() - (@jobs@ - n) * interval '10 microseconds')) r;

insert into jobs
select r.*
from accepted_jobs a, generate_series(0, @jobs@ - 1) n,
    lateral jsonb_populate_record(a, jsonb_build_object(
        'id', lpad(to_hex(1760000000000 + n), 12, '0') || '70008' || substr(md5('job ' || n), 1, 15),
        'scan_id', lpad(to_hex(1760000000000 + n), 12, '0') || '70008' || substr(md5('scan ' || n), 1, 15),
        'tenant_id', md5('tenant ' || n % @tenants@),
        'created_at', now() - (@jobs@ - n) * interval '10 microseconds',
        'run_at', now() - (@jobs@ - n) * interval '10 microseconds')) r;

drop trigger keep_scan on scans;
drop trigger keep_job on jobs;
drop function keep_scan, keep_job;
drop table accepted_scans, accepted_jobs;
