"""What spark-submit runs. Everything is in the package, which every node must have: the workers call its compiled transform."""

import sys

from tidegate_spark.job import main

sys.exit(main())
