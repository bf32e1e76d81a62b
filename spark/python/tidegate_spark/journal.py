"""The journal in Kafka, as far as the driver asks it itself: its partitions and their ends."""

from pyspark.sql import SparkSession


class Journal:
    """Asks the cluster through Kafka's own client, which the source of the stream brings along."""

    def __init__(self, spark: SparkSession, options: dict[str, str], topic: str) -> None:
        self._jvm = spark._jvm
        self._options = options
        self.topic = topic

    def offsets(self) -> dict[int, tuple[int, int]]:
        """The first offset that is kept and the one after the last, by partition."""
        jvm = self._jvm
        settings = jvm.java.util.HashMap()
        for name, value in self._options.items():
            settings.put(name, value)
        admin = jvm.org.apache.kafka.clients.admin.Admin.create(settings)
        try:
            topics = jvm.java.util.ArrayList()
            topics.add(self.topic)
            described = admin.describeTopics(topics).allTopicNames().get().get(self.topic)
            partitions = [part.partition() for part in described.partitions()]
            spec = jvm.org.apache.kafka.clients.admin.OffsetSpec
            earliest, latest = (self._list(admin, partitions, of) for of in (spec.earliest(), spec.latest()))
            return {partition: (earliest[partition], latest[partition]) for partition in partitions}
        finally:
            admin.close()

    def _list(self, admin, partitions: list[int], spec) -> dict[int, int]:
        asked = self._jvm.java.util.HashMap()
        for partition in partitions:
            asked.put(self._jvm.org.apache.kafka.common.TopicPartition(self.topic, partition), spec)
        found = admin.listOffsets(asked).all().get()
        return {partition.partition(): result.offset() for partition, result in found.items()}
