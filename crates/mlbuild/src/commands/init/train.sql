-- Each listener's songs in time order, without the last ones.
with placed as (
    select
        listener_id,
        song,
        row_number() over (partition by listener_id order by played_at, line) as position,
        count(*) over (partition by listener_id)                              as length
    from data.plays
)

select listener_id, array_agg(song order by position) as history
from placed
where position <= length - $held_out
group by listener_id
