-- What a run made of the manifest (a profile, parameters given for once), who built and where, what was asked for to train on, and how
-- a model was picked among the points of a `foreach`.
alter table run add column profile text;
alter table run add column user text;
alter table run add column host text;
alter table action add column device text;

create table given (
    run   integer not null references run,
    label text    not null,
    name  text    not null,
    value text    not null,
    primary key (run, label, name)
) strict, without rowid;

create table candidate (
    action integer not null references action,
    point  text    not null,
    metric text    not null,
    value  real    not null,
    picked integer not null check (picked in (0, 1)),
    primary key (action, point)
) strict, without rowid;

drop view runs;
create view runs as
select id as run,
       coalesce(status, 'running') as status,
       strftime('%Y-%m-%dT%H:%M:%fZ', started / 1e6, 'unixepoch') as started,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended / 1e6, 'unixepoch') as ended,
       (ended - started) / 1e6 as seconds,
       command,
       selection,
       profile,
       user,
       host
from run;

create view given_parameters as
select run, label, name, value from given;

drop view actions;
create view actions as
select a.id as action,
       t.run,
       t.label,
       a.stage,
       a.name,
       a.key,
       a.rule,
       a.outcome,
       a.toolchain,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.started / 1e6, 'unixepoch') as started,
       a.duration_micros / 1e6 as seconds,
       a.output as artifact,
       a.device
from action a join target t on t.id = a.target;

create view picks as
select c.action, t.run, t.label, c.point, c.metric, c.value, c.picked
from candidate c join action a on a.id = c.action join target t on t.id = a.target;

create view experiments as
select t.run,
       t.label,
       case when t.label like '%@%' then substr(t.label, 1, instr(t.label, '@') - 1) else t.label end as model,
       case when t.label like '%@%' then substr(t.label, instr(t.label, '@') + 1) end as point,
       t.rule,
       t.outcome,
       t.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', coalesce(a.started, t.started) / 1e6, 'unixepoch') as started,
       a.duration_micros / 1e6 as seconds,
       t.artifact,
       a.id as action,
       a.key,
       a.device,
       r.user,
       r.host,
       exists (select 1 from candidate c join action p on p.id = c.action join target o on o.id = p.target
               where o.run = t.run and c.point = t.label and c.picked = 1) as picked
from target t
join run r on r.id = t.run
left join action a on a.target = t.id and a.output is not null
      and a.stage = (select max(stage) from action where target = t.id and output is not null)
where t.label like 'model:%' and t.outcome in ('built', 'restored', 'failed') and t.rule <> 'pick';
