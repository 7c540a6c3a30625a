"""Where the rows of a campaign come from: files and objects, CSV, NDJSON and Parquet, plain or gzip."""
