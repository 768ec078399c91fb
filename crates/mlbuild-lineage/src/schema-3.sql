-- Runs that found everything as an earlier null build had found it, and so need no rows of their own for each target.
alter table run add column same_as integer references run;

drop view runs;
create view runs as
select id as run,
       coalesce(status, 'running') as status,
       strftime('%Y-%m-%dT%H:%M:%fZ', started / 1e6, 'unixepoch') as started,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended / 1e6, 'unixepoch') as ended,
       (ended - started) / 1e6 as seconds,
       command,
       selection,
       same_as
from run;

drop view targets;
create view targets as
select run,
       label,
       rule,
       outcome,
       reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', started / 1e6, 'unixepoch') as started,
       (ended - started) / 1e6 as seconds,
       artifact
from target
union all
select r.id,
       t.label,
       t.rule,
       t.outcome,
       t.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.started / 1e6, 'unixepoch'),
       0.0,
       t.artifact
from run r join target t on t.run = r.same_as;
