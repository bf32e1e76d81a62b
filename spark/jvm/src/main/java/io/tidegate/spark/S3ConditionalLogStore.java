package io.tidegate.spark;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.RemoteFileChangedException;
import software.amazon.awssdk.awscore.exception.AwsServiceException;

/**
 * Commits to Delta tables on S3 by conditional PUT ({@code If-None-Match: *}), so that other processes and other engines may commit to the same tables.
 *
 * <p>Delta's own log store for S3 relies on one JVM being the only writer. S3A's {@code create(path, overwrite = false)} only looks first whether the object is
 * there; the builder with {@code fs.option.create.conditional.overwrite} lets the store decide when the object is put.
 *
 * <pre>spark.delta.logStore.s3a.impl  io.tidegate.spark.S3ConditionalLogStore</pre>
 *
 * <p>Needs Hadoop 3.4.2 or newer and a store that honours the header.
 */
public final class S3ConditionalLogStore extends HadoopFileSystemLogStore {
  private static final String CONDITIONAL = "fs.option.create.conditional.overwrite";
  private static final int ATTEMPTS_MAX = 5;
  private static final long PAUSE_MILLIS = 100;

  /** Used by Delta, which makes one for each scheme. */
  public S3ConditionalLogStore(Configuration initHadoopConf) {
    super(initHadoopConf);
  }

  /**
   * Writes the lines as one object.
   *
   * @throws FileAlreadyExistsException when it is not to be overwritten, and another one is there. Nothing was changed then.
   * @throws IOException when the store fails. The object may be there or not.
   */
  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration hadoopConf) throws IOException {
    // All of it first: an iterator that fails half-way must never publish half a commit.
    byte[] body = bytes(actions);
    FileSystem fs = path.getFileSystem(hadoopConf);
    if (overwrite) {
      try (FSDataOutputStream out = fs.create(path, true)) {
        out.write(body);
      }
      return;
    }
    for (int attempt = 1; ; attempt++) {
      try {
        put(fs, path, body);
        return;
      } catch (org.apache.hadoop.fs.FileAlreadyExistsException e) {
        // Seen before anything was sent, which S3A does; an earlier attempt of ours may be what is there.
        if (attempt > 1 && Arrays.equals(read(fs, path, body.length), body)) {
          return;
        }
        throw taken(path, e);
      } catch (IOException e) {
        int status = status(e);
        boolean isRefused = status == 412 || (status == 0 && e instanceof RemoteFileChangedException);
        if (!isRefused && status != 409) {
          throw e;
        }
        // A request that is sent again after its answer was lost is refused because of itself. A commit holds an id of its own: equal bytes are ours.
        byte[] there = read(fs, path, body.length);
        if (Arrays.equals(there, body)) {
          return;
        }
        if (there != null) {
          throw taken(path, e);
        }
        // 409: another PUT of this object is under way, and may come to nothing.
        if (attempt == ATTEMPTS_MAX) {
          throw e;
        }
        pause(attempt);
      }
    }
  }

  /** An object is there as a whole or not at all. */
  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration hadoopConf) {
    return false;
  }

  private static byte[] bytes(Iterator<String> actions) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      all.writeBytes(actions.next().getBytes(StandardCharsets.UTF_8));
      all.write('\n');
    }
    return all.toByteArray();
  }

  private static void put(FileSystem fs, Path path, byte[] body) throws IOException {
    // Not in a try that closes it: close() is the commit, and must not be reached after a failed write.
    FSDataOutputStreamBuilder<?, ?> builder = fs.createFile(path).create().overwrite(false);
    FSDataOutputStream out = (FSDataOutputStream) builder.must(CONDITIONAL, true).build();
    out.write(body);
    out.close();
  }

  /** At most one byte more than {@code length}, so that one of another length is told apart; null where there is none. */
  private static byte[] read(FileSystem fs, Path path, int length) throws IOException {
    try (FSDataInputStream in = fs.open(path)) {
      return in.readNBytes(length + 1);
    } catch (FileNotFoundException e) {
      return null;
    }
  }

  private static FileAlreadyExistsException taken(Path path, Exception cause) {
    FileAlreadyExistsException taken = new FileAlreadyExistsException(path.toString());
    taken.initCause(cause);
    return taken;
  }

  private static int status(Throwable error) {
    for (Throwable t = error; t != null; t = t.getCause()) {
      if (t instanceof AwsServiceException) {
        return ((AwsServiceException) t).statusCode();
      }
    }
    return 0;
  }

  private static void pause(int attempt) throws IOException {
    try {
      Thread.sleep(PAUSE_MILLIS << (attempt - 1));
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while waiting to commit", e);
    }
  }
}
