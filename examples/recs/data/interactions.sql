-- The raw file names its columns `name:type`; from here on they are typed and named plainly.
select
    line,
    cast("user_id:token" as bigint)                         as user_id,
    cast("item_id:token" as bigint)                         as item_id,
    cast("rating:float" as double)                          as rating,
    to_timestamp_seconds(cast("timestamp:float" as bigint)) as rated_at
from data.ratings
