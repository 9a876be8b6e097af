-- Findings that outlive the scans that saw them (docs/decisions/0014-findings-that-live.md).

-- +goose Up
alter table scans add column gate text; -- JSON object; null: its project's

create table projects (
    id         uuid primary key,
    tenant_id  uuid not null references tenants (id) on delete cascade,
    name       text not null check (name <> ''),
    created_at timestamptz not null default now(),
    fail_on    smallint check (fail_on between 0 and 5), -- null: no gate
    new_only   boolean not null default false,
    version    integer not null default 1, -- of what people set
    held       integer not null default 0, -- rows in project_findings
    last_scan  uuid, -- the newest that was tracked
    last_at    timestamptz,
    deletion_id uuid, -- the deletion that removes it; null: it stays
    unique (tenant_id, id)
);
-- One that is being removed is in nobody's way.
create unique index projects_name on projects (tenant_id, name) where deletion_id is null;
create index projects_deleted on projects (deletion_id) where deletion_id is not null;

create table project_findings (
    id          uuid primary key,
    tenant_id   uuid not null,
    project_id  uuid not null,
    plugin      text not null,
    rule_id     text not null,
    fingerprint text not null,
    occurrence  integer not null check (occurrence >= 1),
    content     text not null, -- '': none
    state       text not null check (state in ('new', 'unchanged', 'updated', 'absent')),
    -- Which scan decided the state, and over which scope.
    decided_at   timestamptz not null,
    decided_scan uuid not null,
    scope        text not null,
    first_scan   uuid not null,
    first_seen   timestamptz not null,
    last_scan    uuid not null,
    last_seen    timestamptz not null,
    -- What is shown, as it was last seen: its scan may be gone.
    finding_id uuid not null,
    job_id     uuid not null,
    severity   smallint not null check (severity between 0 and 5),
    title      text not null,
    message    text not null,
    detail     text not null, -- JSON object
    place      text not null, -- the beginning of its path, for a filter
    line       integer not null,
    digest     text not null, -- of what makes it updated
    -- What people say.
    triage     text not null default 'open' check (triage in ('open', 'confirmed', 'false_positive', 'accepted_risk', 'fixed')),
    reason     text not null default '',
    author     text not null default '',
    expires_at timestamptz, -- null: never
    triaged_at timestamptz,
    version    integer not null default 1,
    unique (tenant_id, project_id, plugin, fingerprint, occurrence),
    unique (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
) with (fillfactor = 80);
create index project_findings_worst on project_findings (tenant_id, project_id, severity, id);

-- What was said of them. Lines are added and never changed.
create table finding_history (
    id         uuid primary key, -- version 7: lists by time
    tenant_id  uuid not null,
    project_finding_id uuid not null,
    at         timestamptz not null default now(),
    author     text not null,
    triage     text not null,
    reason     text not null,
    expires_at timestamptz,
    foreign key (tenant_id, project_finding_id) references project_findings (tenant_id, id) on delete cascade
);
create index finding_history_of on finding_history (tenant_id, project_finding_id, id);
-- +goose StatementBegin
create function keep_finding_history() returns trigger language plpgsql as $$
begin
    raise exception 'the history of findings is append-only: constraint finding_history_keep' using errcode = 'restrict_violation';
end $$;
-- +goose StatementEnd
create trigger finding_history_keep before update on finding_history for each row execute function keep_finding_history();

-- Which project finding a scan's finding is.
create table observations (
    scan_id    uuid not null,
    severity   smallint not null,
    finding_id uuid not null,
    tenant_id  uuid not null,
    project_finding_id uuid not null,
    state      text not null check (state in ('new', 'unchanged', 'updated')),
    primary key (scan_id, severity, finding_id),
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
);
create index observations_of on observations (project_finding_id, scan_id);

-- The newest job of each plugin that saw the whole of a scope.
create table project_runs (
    tenant_id   uuid not null,
    project_id  uuid not null,
    plugin      text not null,
    scope       text not null,
    complete_at   timestamptz not null,
    complete_scan uuid not null,
    primary key (tenant_id, project_id, plugin, scope),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
);

-- What tracking a scan came to.
create table scan_outcomes (
    scan_id    uuid primary key,
    tenant_id  uuid not null,
    project_id uuid not null,
    base_scan  uuid, -- the project's newest before it; null: it was the first
    tracked_at timestamptz not null default now(),
    added      integer not null default 0,
    unchanged  integer not null default 0,
    updated    integer not null default 0,
    absent     integer not null default 0,
    untracked  integer not null default 0, -- not kept: the project is full
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
);

-- Scans of projects that became final and were not looked at yet.
create table untracked_scans (
    scan_id   uuid primary key,
    tenant_id uuid not null,
    due_at    timestamptz not null default now(),
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
) with (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.2);
create index untracked_scans_due on untracked_scans (due_at, scan_id);
-- +goose StatementBegin
create function note_untracked() returns trigger language plpgsql as $$
begin
    insert into untracked_scans (scan_id, tenant_id) values (new.id, new.tenant_id) on conflict do nothing;
    return null;
end $$;
-- +goose StatementEnd
-- A trigger and no statement: every way to the end of a scan passes here, and
-- one without a project costs the look at its condition.
create trigger scans_note_untracked after update on scans for each row
    when (new.project <> '' and old.finished_at is null and new.finished_at is not null)
    execute function note_untracked();

-- +goose Down
drop trigger scans_note_untracked on scans;
drop function note_untracked;
drop table untracked_scans;
drop table scan_outcomes;
drop table project_runs;
drop table observations;
drop table finding_history;
drop function keep_finding_history;
drop table project_findings;
drop table projects;
alter table scans drop column gate;
