package io.tidegate.spark;

import org.apache.spark.sql.delta.actions.AddFile;

/** A data file that a version of a table added, with rows that were not in the table before. */
public final class Added {
  private final long version;
  private final AddFile file;

  Added(long version, AddFile file) {
    this.version = version;
    this.file = file;
  }

  /** The version that added it. */
  public long version() {
    return version;
  }

  /** Its rows; -1 where its writer did not say. */
  public long rows() {
    return file.numLogicalRecords().isDefined() ? (Long) file.numLogicalRecords().get() : -1;
  }

  /** The value of a partition column, as Delta writes it; null where it is null or there is no such column. */
  public String partitionValue(String column) {
    return file.partitionValues().getOrElse(column, () -> null);
  }

  AddFile file() {
    return file;
  }
}
