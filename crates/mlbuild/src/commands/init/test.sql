-- The same songs, and the next one as the label.
with placed as (
    select
        listener_id,
        song,
        row_number() over (partition by listener_id order by played_at, line) as position,
        count(*) over (partition by listener_id)                              as length
    from data.plays
)

select
    listener_id,
    array_agg(song order by position) filter (where position <= length - $held_out) as history,
    max(song) filter (where position = length - $held_out + 1)                      as target
from placed
group by listener_id
