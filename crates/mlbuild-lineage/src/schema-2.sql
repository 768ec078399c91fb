-- Column lineage: what each column of an action's output comes from.
create table flow (
    action      integer not null references action,
    input       text    not null,
    from_column text,
    to_column   text,
    kind        text    not null check (kind in ('value', 'rows'))
) strict;
create index flow_by_action on flow (action);

create view column_edges as
select f.action,
       t.run,
       t.label,
       f.input,
       i.artifact as from_artifact,
       f.from_column,
       a.output as to_artifact,
       f.to_column,
       f.kind
from flow f
join action a on a.id = f.action
join target t on t.id = a.target
join input i on i.action = f.action and i.name = f.input;
