import sys

from tidegate_spark.job import main

sys.exit(main())
