select * from features.flights where leaves < timestamp '2013-10-01T04:00:00'
