-- Profiles, and parameters given on the command line: what a run made of the manifest.
alter table run add column profile text;

create table given (
    run   integer not null references run,
    label text    not null,
    name  text    not null,
    value text    not null,
    primary key (run, label, name)
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
       profile
from run;

create view given_parameters as
select run, label, name, value from given;
