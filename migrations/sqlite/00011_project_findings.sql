-- Findings that outlive the scans that saw them (docs/decisions/0014-findings-that-live.md).
-- Times are Unix microseconds in UTC, ids canonical UUID text.

-- +goose Up
alter table scans add column gate text; -- JSON object; null: its project's

create table projects (
    id         text primary key not null check (length(id) = 36),
    tenant_id  text not null references tenants (id) on delete cascade,
    name       text not null check (name <> ''),
    created_at integer not null,
    fail_on    integer check (fail_on between 0 and 5), -- null: no gate
    new_only   integer not null default 0,
    version    integer not null default 1, -- of what people set
    held       integer not null default 0, -- rows in project_findings
    last_scan  text, -- the newest that was tracked
    last_at    integer,
    deletion_id text, -- the deletion that removes it; null: it stays
    unique (tenant_id, id)
) strict;
-- One that is being removed is in nobody's way.
create unique index projects_name on projects (tenant_id, name) where deletion_id is null;
create index projects_deleted on projects (deletion_id) where deletion_id is not null;

create table project_findings (
    id          text primary key not null check (length(id) = 36),
    tenant_id   text not null,
    project_id  text not null,
    plugin      text not null,
    rule_id     text not null,
    fingerprint text not null,
    occurrence  integer not null check (occurrence >= 1),
    content     text not null, -- '': none
    state       text not null check (state in ('new', 'unchanged', 'updated', 'absent')),
    -- Which scan decided the state, and over which scope.
    decided_at   integer not null,
    decided_scan text not null,
    scope        text not null,
    first_scan   text not null,
    first_seen   integer not null,
    last_scan    text not null,
    last_seen    integer not null,
    -- What is shown, as it was last seen: its scan may be gone.
    finding_id text not null,
    job_id     text not null,
    severity   integer not null check (severity between 0 and 5),
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
    expires_at integer, -- null: never
    triaged_at integer,
    version    integer not null default 1,
    unique (tenant_id, project_id, plugin, fingerprint, occurrence),
    unique (tenant_id, id),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
) strict;
create index project_findings_worst on project_findings (tenant_id, project_id, severity, id);

-- What was said of them. Lines are added and never changed.
create table finding_history (
    id         text primary key not null check (length(id) = 36), -- version 7: lists by time
    tenant_id  text not null,
    project_finding_id text not null,
    at         integer not null,
    author     text not null,
    triage     text not null,
    reason     text not null,
    expires_at integer,
    foreign key (tenant_id, project_finding_id) references project_findings (tenant_id, id) on delete cascade
) strict;
create index finding_history_of on finding_history (tenant_id, project_finding_id, id);
-- +goose StatementBegin
create trigger finding_history_keep before update on finding_history begin
    select raise(abort, 'the history of findings is append-only');
end;
-- +goose StatementEnd

-- Which project finding a scan's finding is.
create table observations (
    scan_id    text not null,
    severity   integer not null,
    finding_id text not null,
    tenant_id  text not null,
    project_finding_id text not null,
    state      text not null check (state in ('new', 'unchanged', 'updated')),
    primary key (scan_id, severity, finding_id),
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
) strict;
create index observations_of on observations (project_finding_id, scan_id);

-- The newest job of each plugin that saw the whole of a scope.
create table project_runs (
    tenant_id   text not null,
    project_id  text not null,
    plugin      text not null,
    scope       text not null,
    complete_at   integer not null,
    complete_scan text not null,
    primary key (tenant_id, project_id, plugin, scope),
    foreign key (tenant_id, project_id) references projects (tenant_id, id) on delete cascade
) strict;

-- What tracking a scan came to.
create table scan_outcomes (
    scan_id    text primary key not null,
    tenant_id  text not null,
    project_id text not null,
    base_scan  text, -- the project's newest before it; null: it was the first
    tracked_at integer not null,
    added      integer not null default 0,
    unchanged  integer not null default 0,
    updated    integer not null default 0,
    absent     integer not null default 0,
    untracked  integer not null default 0, -- not kept: the project is full
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
) strict;

-- Scans of projects that became final and were not looked at yet.
create table untracked_scans (
    scan_id   text primary key not null,
    tenant_id text not null,
    due_at    integer not null,
    foreign key (tenant_id, scan_id) references scans (tenant_id, id) on delete cascade
) strict, without rowid;
create index untracked_scans_due on untracked_scans (due_at, scan_id);
-- A trigger and no statement: every way to the end of a scan passes here.
-- +goose StatementBegin
create trigger scans_note_untracked after update on scans
    when new.project <> '' and old.finished_at is null and new.finished_at is not null begin
    insert into untracked_scans (scan_id, tenant_id, due_at) values (new.id, new.tenant_id, new.finished_at) on conflict do nothing;
end;
-- +goose StatementEnd

-- +goose Down
drop trigger scans_note_untracked;
drop table untracked_scans;
drop table scan_outcomes;
drop table project_runs;
drop table observations;
drop table finding_history;
drop table project_findings;
drop table projects;
alter table scans drop column gate;
