//! Sources and SQL to tables, through DataFusion.
