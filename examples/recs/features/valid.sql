with ranked as (
    select *, count(*) over (partition by user_id) as length
    from data.sessions
)

select
    user_id,
    array_agg(item_id order by position) filter (where position <= length - 2) as history,
    max(item_id) filter (where position = length - 1)                          as target
from ranked
group by user_id
