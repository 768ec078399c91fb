//! What a SQL text says: its canonical form, the tables and parameters it reads.
