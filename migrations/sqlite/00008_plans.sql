-- What a tenant may use: a plan, which the configuration explains by its name.

-- +goose Up
alter table tenants add column plan text not null default '' check (length(plan) <= 63); -- '': the default plan
alter table tenants add column override text; -- JSON object: what is different for this tenant; null: nothing

-- +goose Down
alter table tenants drop column override;
alter table tenants drop column plan;
