with ranked as (
    select *, count(*) over (partition by user_id) as length
    from data.sessions
)

select user_id, array_agg(item_id order by position) as history
from ranked
where position <= length - 2
group by user_id
