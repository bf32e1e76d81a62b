package io.tidegate.spark;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.parser.CatalystSqlParser;
import org.apache.spark.sql.delta.ConcurrentTransactionException;
import org.apache.spark.sql.delta.DeltaLog;
import org.apache.spark.sql.delta.DeltaOperations;
import org.apache.spark.sql.delta.OptimisticTransaction;
import org.apache.spark.sql.delta.Snapshot;
import org.apache.spark.sql.delta.actions.Action;
import org.apache.spark.sql.delta.actions.AddFile;
import org.apache.spark.sql.delta.actions.SetTransaction;
import org.apache.spark.sql.functions;
import scala.Option;
import scala.Tuple2;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * A table of the lake, for a stage that reads its versions and commits rows together with its progress.
 *
 * <p>Spark's writer takes one application transaction a commit, skips silently what it believes to be committed, and tells nobody. A stage needs several, has to
 * rely on others that it does not move, and has to be refused where it is late. So this commits through Delta's transaction itself. It stands at the version it
 * last read.
 */
public final class LakeTable {
  private final DeltaLog log;
  private Snapshot snapshot;
  /** What the snapshot tells, once it was asked for. */
  private Map<String, Long> progress;

  private LakeTable(DeltaLog log) {
    this.log = log;
    refresh();
  }

  /**
   * Opens the table at a path.
   *
   * @throws IllegalArgumentException when there is none.
   */
  public static LakeTable open(SparkSession spark, String path) {
    LakeTable table = new LakeTable(DeltaLog.forTable(spark, new Path(path)));
    if (table.version() < 0) {
      throw new IllegalArgumentException("there is no Delta table at " + path);
    }
    return table;
  }

  /** Reads what others committed since, and tells the newest version. */
  public long refresh() {
    Snapshot newest = log.update(false, Option.empty(), Option.empty());
    if (newest != snapshot) {
      snapshot = newest;
      progress = null;
    }
    return snapshot.version();
  }

  /** The version it stands at. */
  public long version() {
    return snapshot.version();
  }

  /** How far something is at this version, -1 where the table tells nothing of it. */
  public long progress(String name) {
    if (progress == null) {
      progress = new HashMap<>();
      for (SetTransaction set : CollectionConverters.asJava(snapshot.setTransactions())) {
        progress.put(set.appId(), set.version());
      }
    }
    return progress.getOrDefault(name, -1L);
  }

  /**
   * What the versions after {@code after}, up to {@code through}, did.
   *
   * @throws IllegalStateException when the log no longer has one of these versions.
   */
  public Changes changes(long after, long through) {
    List<Changes.Version> versions = new ArrayList<>();
    if (through <= after) {
      return new Changes(versions);
    }
    scala.collection.Iterator<Tuple2<Object, Seq<Action>>> changes = log.getChanges(after + 1, through, Option.empty(), true);
    while (changes.hasNext()) {
      Tuple2<Object, Seq<Action>> change = changes.next();
      versions.add(new Changes.Version((Long) change._1(), CollectionConverters.asJava(change._2())));
    }
    if (versions.size() != through - after || versions.get(0).number() != after + 1) {
      throw new IllegalStateException("the log of " + log.dataPath() + " no longer has all versions from " + (after + 1) + " to " + through);
    }
    return new Changes(versions);
  }

  /** The columns that choose the folder of a row. */
  public List<String> partitionBy() {
    return CollectionConverters.asJava(snapshot.metadata().partitionColumns());
  }

  /** The values that a partition column has at this version. */
  public Set<String> partitions(String column) {
    Set<String> values = new TreeSet<>();
    Dataset<Row> distinct = snapshot.allFiles().toDF().select(functions.col("partitionValues").getItem(column)).distinct();
    for (Row row : distinct.collectAsList()) {
      if (!row.isNullAt(0)) {
        values.add(row.getString(0));
      }
    }
    return values;
  }

  /** The rows of these files, which must be the table's. */
  public Dataset<Row> read(List<Added> files) {
    List<AddFile> adds = new ArrayList<>();
    for (Added added : files) {
      adds.add(added.file());
    }
    return log.createDataFrame(snapshot, CollectionConverters.asScala(adds).toSeq(), false, Option.empty());
  }

  /**
   * Appends rows, or none where {@code rows} is null, together with progress.
   *
   * @param progress what the commit sets progress to.
   * @param told what the stage was told of this progress, and of that which it relies on, -1 where there was none. Another commit that moves any of it before this one
   *     is made refuses this one.
   * @param info goes into the commit as {@code userMetadata}.
   * @return the version that was made.
   * @throws FencedException when some of this progress is no more as it was told.
   */
  public long append(Dataset<Row> rows, Map<String, Number> progress, Map<String, Number> told, String info) {
    return commit(rows, null, progress, told, info);
  }

  /**
   * Puts rows in the place of all rows for which a condition on partition columns holds, together with progress.
   *
   * @param condition SQL; the rows must fulfil it.
   * @return the version that was made.
   * @throws FencedException as {@link #append}.
   */
  public long replace(Dataset<Row> rows, String condition, Map<String, Number> progress, Map<String, Number> told, String info) {
    return commit(rows, condition, progress, told, info);
  }

  private long commit(Dataset<Row> rows, String condition, Map<String, Number> progress, Map<String, Number> told, String info) {
    OptimisticTransaction txn = log.startTransaction(Option.empty(), Option.empty());
    for (Map.Entry<String, Number> entry : told.entrySet()) {
      // Asking for it makes every later commit that moves it a conflict.
      long found = txn.txnVersion(entry.getKey());
      if (found != entry.getValue().longValue()) {
        throw new FencedException(entry.getKey() + " is at " + found + " in " + log.dataPath() + ", and was at " + entry.getValue() + " when this was decided");
      }
    }
    List<Action> actions = new ArrayList<>();
    if (condition != null) {
      Seq<Expression> filters = CollectionConverters.asScala(List.of(new CatalystSqlParser().parseExpression(condition))).toSeq();
      for (AddFile replaced : CollectionConverters.asJava(txn.filterFiles(filters, false))) {
        actions.add(replaced.remove());
      }
    }
    if (rows != null) {
      actions.addAll(CollectionConverters.asJava(txn.writeFiles(rows)));
    }
    Option<Object> now = Option.apply(System.currentTimeMillis());
    for (Map.Entry<String, Number> entry : progress.entrySet()) {
      actions.add(new SetTransaction(entry.getKey(), entry.getValue().longValue(), now));
    }
    DeltaOperations.Operation operation =
        new DeltaOperations.Write(
            condition == null ? SaveMode.Append : SaveMode.Overwrite,
            Option.apply(txn.metadata().partitionColumns()),
            Option.apply(condition),
            Option.apply(info),
            Option.empty(),
            Option.empty(),
            Option.empty(),
            Option.empty(),
            Option.empty());
    long made;
    try {
      made = txn.commit(CollectionConverters.asScala(actions).toSeq(), operation);
    } catch (ConcurrentTransactionException e) {
      throw new FencedException("another process moved progress that this commit moves or relies on in " + log.dataPath(), e);
    }
    refresh();
    return made;
  }
}
