"""Tidegate on Spark: journal → Bronze → Silver → Gold and the ledger, on a cluster, with the compiled transform that the workers in Rust have.

`tidegate_spark.job` is the driver, `tidegate_spark.steps` what a worker of Spark runs. `python -m tidegate_spark SETTINGS` runs the job in a session of its own; with spark-submit the
program is `spark/tidegate_job.py`. `tidegate spark submit` writes the settings from tidegate.toml and the command line with the jars.
"""

from tidegate_spark._medallion import __version__

__all__ = ["__version__"]
