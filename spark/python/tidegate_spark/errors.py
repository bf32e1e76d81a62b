"""What stops the job, and what it goes on after."""

from py4j.protocol import Py4JJavaError

FENCED = "io.tidegate.spark.FencedException"


class Refused(Exception):
    """The job cannot do its work as things are. The text says what to do."""


class Fenced(Exception):
    """Another process has made the progress that a commit claims or relies on: the place is to be taken from the tables anew."""


def told(error: Py4JJavaError) -> Exception:
    """An error of the JVM as one of these, where it is one."""
    cause = error.java_exception
    while cause is not None:
        if cause.getClass().getName() == FENCED:
            return Fenced(cause.getMessage())
        cause = cause.getCause()
    return error
