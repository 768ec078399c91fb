-- Each rating with its place in the person's history and in the sitting it belongs to.
with paused as (
    select
        user_id,
        item_id,
        rated_at,
        line,
        row_number() over (partition by user_id order by rated_at, line) as position,
        date_part('epoch', rated_at - lag(rated_at) over (partition by user_id order by rated_at, line)) / 60.0
            as pause_minutes
    from data.interactions
),

numbered as (
    select
        *,
        sum(case when pause_minutes > $gap_minutes then 1 else 0 end)
            over (partition by user_id order by position rows unbounded preceding) + 1 as session
    from paused
)

select
    user_id,
    position,
    item_id,
    rated_at,
    pause_minutes,
    session,
    row_number() over (partition by user_id, session order by position) as session_position
from numbered
