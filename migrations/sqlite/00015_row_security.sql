-- PostgreSQL's row-level security has no like here: an embedded database is one
-- process's alone. The number is taken so that both have the same.

-- +goose Up
select 1;

-- +goose Down
select 1;
