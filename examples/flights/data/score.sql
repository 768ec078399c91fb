with guessed as (
    select 'minutes' as model, id, prediction from data.guesses
    union all
    select 'distance', id, prediction from data.distance_guesses
)
select
    model,
    count(*) as flights,
    sqrt(avg(power(prediction - minutes, 2))) as rmse,
    avg(abs(prediction - minutes)) as mae
from guessed
join features.test using (id)
group by model
