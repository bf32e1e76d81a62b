"""Tidegate in Python: the compiled transform over Arrow record batches, and the Spark job that calls it.

`tidegate.steps` has what a worker of Spark runs, `tidegate.spark` what its driver does. Both engines, this and the workers in Rust, make the same tables with
the same transform.
"""

from tidegate._medallion import __version__

__all__ = ["__version__"]
