-- The order of first appearance is the order of the catalog, which breaks ties between equal scores.
select item_id, min(line) as first_line, count(*) as ratings
from data.interactions
group by item_id
order by first_line
