/** What applications set and are told, and what differs between Node and browsers. */

import type { Experiment } from './experiments.js'
import type { JsonObject } from './event.js'

export type DropReason = 'invalid' | 'too_large' | 'queue_full' | 'closed' | 'opted_out'

/** What became of one event. `code` and `message` say why it was not delivered: a code of the gate's, or a `DropReason`. */
export type Delivery =
  | { eventId: string; outcome: 'delivered' }
  | { eventId: string; outcome: 'rejected' | 'dropped'; code: string; message: string }

/** Since the client was made. `tracked === delivered + rejected + dropped + pending`, whenever it is asked. */
export interface Stats {
  tracked: number
  delivered: number
  rejected: number
  dropped: number
  /** In memory, on its way, or in the spool; of this process. */
  pending: number
  /** By reason. */
  droppedBy: Record<string, number>
  /** By code. */
  rejectedBy: Record<string, number>
  /** Calls while it was switched off. */
  suppressed: number
  /** Requests that were sent again. */
  retries: number
  /** Events of earlier processes, found in the spool and answered. */
  recovered: number
  /** Lines of the spool that a process was killed in the middle of. */
  torn: number
  /** Times that the spool could not be written. */
  spoolErrors: number
}

/** Times are milliseconds. */
export interface Settings {
  writeKey: string
  /** Where the gate is, or a path of one's own that a proxy passes on to it. */
  url: string
  /** Goes into every event. */
  context?: JsonObject
  /** Tells the W3C `traceparent` of the span that is active, where the application records a trace: the event's way through the platform becomes a part of it. */
  traceparent?: () => string | undefined
  /** False: switched off until `optIn()`. */
  enabled?: boolean
  /** Those that `variation` knows. */
  experiments?: readonly Experiment[]
  /** Checks events before they are sent, with the gate's verdicts: `new Plan(PLAN)` of 'tidegate/plan'. */
  plan?: Judge
  /** Called for each event when it is known what became of it, never within a call. */
  onDelivery?: (delivery: Delivery) => void
  /** Where warnings go; the console if it is not said. */
  log?: (message: string) => void
  batchEventsMax?: number
  batchBytesMax?: number
  batchMs?: number
  queueEventsMax?: number
  queueBytesMax?: number
  /** What is dropped when the queue is full. A call never waits. */
  whenFull?: 'drop_newest' | 'drop_oldest'
  timeoutMs?: number
  /** For how long events are gathered to be written to the spool together. */
  spoolMs?: number
}

/** What a tracking plan says of an event that breaks it. */
export interface Verdict {
  code: string
  message: string
  /** Whether the gate would not take it. */
  isRejected: boolean
}

/** Judges the JSON of an event; nothing where nothing is wrong with it. */
export interface Judge {
  judge(text: string): Verdict | undefined
}

/** A request to the gate, and what it answered. Rejects where there was no answer. */
export type Post = (url: string, headers: Record<string, string>, body: string, timeoutMs: number) => Promise<Answer>

export interface Answer {
  status: number
  body: string
  retryAfter: string | null
}

/** A file of the spool that is closed: one batch. */
export interface SpoolFile {
  path: string
  /** How many, of this process; 0 where it is of an earlier one. */
  events: number
  /** The number that its first event has in this process. */
  first: number
}

/** Where events are until they are answered, if not in memory alone. */
export interface Spool {
  /** How many events the file has that is written to. */
  readonly openEvents: number
  readonly openBytes: number
  /** What earlier processes left. */
  adopt(): Promise<SpoolFile[]>
  /** Writes events and syncs them, all or none. Rejects where it cannot; then the file is to be cut. */
  append(texts: string[], first: number): Promise<void>
  /** Closes the file that is written to; it is a batch now. */
  cut(): Promise<SpoolFile | undefined>
  /** The events of a file with their ids, and how many lines are no events. */
  read(file: SpoolFile): Promise<{ events: [string, string][]; torn: number }>
  /** Its events are settled. */
  remove(file: SpoolFile): Promise<void>
  close(): Promise<void>
}

/** What differs between Node and browsers. */
export interface Platform {
  spool?: Spool | undefined
  library: string
  post: Post
  byteLength: (text: string) => number
  randomBytes: (bytes: Uint8Array) => void
  /** Keeps a timer from holding the process. */
  unref: (timer: unknown) => void
}
