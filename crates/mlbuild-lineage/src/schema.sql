create table run (
    id        integer primary key autoincrement,
    command   text    not null,
    selection text    not null,
    started   integer not null,
    ended     integer,
    status    text    check (status in ('done', 'failed', 'interrupted'))
) strict;

create table tool (
    run     integer not null references run,
    name    text    not null,
    version text    not null,
    primary key (run, name)
) strict, without rowid;

create table target (
    id       integer primary key autoincrement,
    run      integer not null references run,
    label    text    not null,
    rule     text    not null,
    outcome  text    not null check (outcome in ('built', 'restored', 'up_to_date', 'failed', 'skipped')),
    reason   text,
    started  integer not null,
    ended    integer not null,
    artifact text,
    unique (run, label)
) strict;
create index target_by_label on target (label, id);
create index target_by_artifact on target (artifact, id) where artifact is not null;

create table action (
    id              integer primary key autoincrement,
    target          integer not null references target,
    stage           integer not null,
    name            text    not null,
    key             text    not null,
    rule            text    not null,
    outcome         text    not null check (outcome in ('built', 'restored', 'up_to_date', 'failed', 'skipped')),
    toolchain       text    not null,
    started         integer not null,
    duration_micros integer not null,
    output          text    references artifact,
    unique (target, stage)
) strict;
create index action_by_key on action (key, id);
create index action_by_output on action (output, id) where output is not null;

create table artifact (
    digest text    primary key,
    kind   text    not null,
    bytes  integer not null,
    rows   integer
) strict, without rowid;

create table artifact_column (
    artifact text    not null references artifact,
    position integer not null,
    name     text    not null,
    type     text    not null,
    digest   text    not null,
    primary key (artifact, position)
) strict, without rowid;

create table input (
    action   integer not null references action,
    name     text    not null,
    artifact text    not null,
    primary key (action, name)
) strict, without rowid;
create index input_by_artifact on input (artifact, action);

create table parameter (
    action integer not null references action,
    name   text    not null,
    value  text    not null,
    primary key (action, name)
) strict, without rowid;

create table metric (
    action integer not null references action,
    name   text    not null,
    value  real,
    primary key (action, name)
) strict, without rowid;

create table epoch (
    run   integer not null references run,
    label text    not null,
    epoch integer not null,
    name  text    not null,
    value real,
    at    integer not null,
    primary key (run, label, epoch, name)
) strict, without rowid;

create view runs as
select id as run,
       coalesce(status, 'running') as status,
       strftime('%Y-%m-%dT%H:%M:%fZ', started / 1e6, 'unixepoch') as started,
       strftime('%Y-%m-%dT%H:%M:%fZ', ended / 1e6, 'unixepoch') as ended,
       (ended - started) / 1e6 as seconds,
       command,
       selection
from run;

create view tools as
select run, name, version from tool;

create view targets as
select run,
       label,
       rule,
       outcome,
       reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', started / 1e6, 'unixepoch') as started,
       (ended - started) / 1e6 as seconds,
       artifact
from target;

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
       a.output as artifact
from action a join target t on t.id = a.target;

create view artifacts as
select digest as artifact, kind, bytes, rows from artifact;

create view columns as
select artifact, position, name, type, digest from artifact_column;

create view edges as
select a.id as action,
       t.run,
       t.label,
       a.key,
       i.name as input,
       i.artifact as from_artifact,
       a.output as to_artifact
from input i join action a on a.id = i.action join target t on t.id = a.target;

create view parameters as
select a.id as action, t.run, t.label, p.name, p.value
from parameter p join action a on a.id = p.action join target t on t.id = a.target;

create view metrics as
select a.id as action, t.run, t.label, m.name, m.value
from metric m join action a on a.id = m.action join target t on t.id = a.target;

create view epochs as
select run, label, epoch, name, value,
       strftime('%Y-%m-%dT%H:%M:%fZ', at / 1e6, 'unixepoch') as at
from epoch;
