-- The catalog: every song, in order of first appearance.
select song, min(line) as first_line, count(*) as plays
from data.plays
group by song
order by first_line
