"""The sources of a campaign's rows: files and objects, CSV, NDJSON and Parquet, plain or gzip."""
