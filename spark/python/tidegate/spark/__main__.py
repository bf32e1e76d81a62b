import sys

from tidegate.spark.job import main

sys.exit(main())
