package io.tidegate.spark;

/** A commit was refused because another process has made the progress that it claims, or that it relies on. Nothing was committed. */
public final class FencedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  FencedException(String message) {
    super(message);
  }

  FencedException(String message, Throwable cause) {
    super(message, cause);
  }
}
