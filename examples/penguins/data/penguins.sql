select
    id,
    species,
    island,
    cast(nullif(bill_length_mm, 'NA') as double) as bill_length_mm,
    cast(nullif(bill_depth_mm, 'NA') as double) as bill_depth_mm,
    cast(nullif(flipper_length_mm, 'NA') as bigint) as flipper_length_mm,
    cast(nullif(body_mass_g, 'NA') as bigint) as body_mass_g,
    nullif(sex, 'NA') as sex,
    year
from data.raw
