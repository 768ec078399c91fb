select
    f.id,
    f.time_hour as leaves,
    cast(f.air_time as double) as minutes,
    f.carrier,
    f.origin,
    f.dest,
    f.distance,
    d.lon - o.lon as east,
    d.lat - o.lat as north,
    cast(nullif(w.temp, 'NA') as double) as temperature,
    cast(nullif(w.pressure, 'NA') as double) as pressure,
    cast(nullif(p.year, 'NA') as bigint) as built,
    p.manufacturer,
    p.engine,
    p.seats
from data.flights f
join data.airports o on o.faa = f.origin
left join data.airports d on d.faa = f.dest
left join data.weather w on w.origin = f.origin and w.time_hour = f.time_hour
left join data.planes p on p.tailnum = f.tailnum
where f.air_time <> 'NA'
