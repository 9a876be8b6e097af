create table tasks (
    id           uuid primary key,
    status       text not null,
    filename     text not null,
    path         text not null,
    size_bytes   bigint not null,
    created_at   timestamptz not null default clock_timestamp(),
    started_at   timestamptz, -- the worker's clock when it got the job
    completed_at timestamptz
);
