with guessed as (
    select 'species' as model, id, prediction from data.guesses
    union all
    select 'constant', id, prediction from data.constant_guesses
)
select
    model,
    count(*) as penguins,
    avg(case when prediction = species then 1.0 else 0.0 end) as accuracy
from guessed
join features.test using (id)
group by model
