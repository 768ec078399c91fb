select * from data.penguins where id % 3 = 0
