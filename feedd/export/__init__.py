"""Records as Parquet files, for research: a ring consumer like any other."""
