select
    user_id,
    session,
    min(rated_at) as started_at,
    max(rated_at) as ended_at,
    count(*)      as ratings
from data.sessions
group by user_id, session
