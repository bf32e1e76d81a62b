package io.tidegate.spark;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.apache.spark.sql.delta.actions.Action;
import org.apache.spark.sql.delta.actions.AddFile;
import org.apache.spark.sql.delta.actions.CommitInfo;
import org.apache.spark.sql.delta.actions.RemoveFile;

/** What some versions of a table did, read from its log once. */
public final class Changes {
  private final List<Version> versions;

  Changes(List<Version> versions) {
    this.versions = versions;
  }

  /** The files that they added with new rows, oldest first. Those of compactions are not among them. */
  public List<Added> added() {
    List<Added> added = new ArrayList<>();
    for (Version version : versions) {
      for (Action action : version.actions()) {
        if (action instanceof AddFile && ((AddFile) action).dataChange()) {
          added.add(new Added(version.number(), (AddFile) action));
        }
      }
    }
    return added;
  }

  /**
   * The values of a partition column among the files that they removed together with their rows. Those of compactions are not among them.
   *
   * @return null where a writer did not say which partition a file was of.
   */
  public Set<String> removed(String column) {
    Set<String> removed = new TreeSet<>();
    for (Version version : versions) {
      for (Action action : version.actions()) {
        if (action instanceof RemoveFile && ((RemoveFile) action).dataChange()) {
          scala.collection.immutable.Map<String, String> values = ((RemoveFile) action).partitionValues();
          if (values == null || !values.contains(column)) {
            return null;
          }
          String value = values.getOrElse(column, () -> null);
          if (value != null) {
            removed.add(value);
          }
        }
      }
    }
    return removed;
  }

  /** What their commits say in {@code userMetadata}, oldest first; empty where they say nothing. */
  public List<String> infos() {
    List<String> infos = new ArrayList<>();
    for (Version version : versions) {
      infos.add(version.info());
    }
    return infos;
  }

  /** One of them. */
  record Version(long number, List<Action> actions) {
    private String info() {
      for (Action action : actions) {
        if (action instanceof CommitInfo && ((CommitInfo) action).userMetadata().isDefined()) {
          return ((CommitInfo) action).userMetadata().get();
        }
      }
      return "";
    }
  }
}
