"""The Structured Streaming job: journal → Bronze → Silver → Gold and the ledger, on a cluster.

`python -m tidegate.spark SETTINGS` runs it in a session of its own; with spark-submit the program is `spark/tidegate_job.py`. `tidegate spark submit` writes the settings from
tidegate.toml and the command line with the jars.
"""
