-- Keeps the rows of every accepted scan as they were accepted.

create table accepted_scans as select * from scans;
create table accepted_jobs as select * from jobs;

create function keep_scan() returns trigger language plpgsql as $$
begin insert into accepted_scans select new.*; return null; end $$;
create function keep_job() returns trigger language plpgsql as $$
begin insert into accepted_jobs select new.*; return null; end $$;

create trigger keep_scan after insert on scans for each row execute function keep_scan();
create trigger keep_job after insert on jobs for each row execute function keep_job();
