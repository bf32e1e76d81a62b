/** The client: what an application calls, and the queue, the batches and the attempts behind it. The same for Node and browsers; what differs is the `Platform`. */

import { meaning, pause, type Rejected } from './answers.js'
import { eventText, objectText, Unsendable, withSentAt, timeText, type CallOptions, type JsonObject } from './event.js'
import { checkedExperiment, Exposures, variationOf, type Experiment } from './experiments.js'

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
  /** False: switched off until `optIn()`. */
  enabled?: boolean
  /** Those that `variation` knows. */
  experiments?: readonly Experiment[]
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

export const VERSION = '0.1.0'

const LOG_PAUSE_MS = 60_000
/** After the spool could not be written. */
const SPOOL_RETRY_MS = 1_000
const RANDOM_POOL_EVENTS = 256
const OPTED_OUT = ['opted_out', 'the client was switched off'] as const
const TOO_LARGE = { code: 'too_large', message: 'the gate takes no event of this size' }
const CLOSED = ['closed', 'the client was closed before it could be sent'] as const

interface Event {
  /** Its number in this process, 0 where it is of an earlier one. */
  number: number
  id: string
  /** Without the brace at its end. */
  text: string
  bytes: number
}

interface Batch {
  events: Event[]
  attempt: number
  /** No further attempt is to be made. */
  isThrownAway: boolean
  isSpooled: boolean
  /** What is to be removed when the last of them is answered. */
  file?: SpoolFile | undefined
}

/** Sends events. No call throws or waits; what cannot be sent is counted in `stats()`, told to `onDelivery`, and logged. */
export class Client {
  readonly #settings: Required<Omit<Settings, 'onDelivery' | 'log' | 'context' | 'enabled' | 'experiments'>>
  readonly #platform: Platform
  readonly #onDelivery: ((delivery: Delivery) => void) | undefined
  readonly #log: (message: string) => void
  readonly #context: JsonObject
  readonly #contextText: string
  readonly #counts = { tracked: 0, delivered: 0, suppressed: 0, retries: 0, recovered: 0, torn: 0, spoolErrors: 0, dropped: {} as Record<string, number>, rejected: {} as Record<string, number> }
  readonly #pool = new Uint8Array(10 * RANDOM_POOL_EVENTS)
  #poolAt = RANDOM_POOL_EVENTS
  /** So many are sent without waiting for more: a batch, or half of what the queue holds. */
  readonly #dueEvents: number
  readonly #dueBytes: number
  /** Those that `variation` knows, by id. */
  readonly experiments: ReadonlyMap<string, Experiment>
  readonly #exposures = new Exposures()
  readonly #warned = new Map<string, number>()
  #isEnabled: boolean
  #isClosing = false
  #isOver = false
  #queue: Event[] = []
  #queuedBytes = 0
  #oldestAt = 0
  /** Cut, and not begun: halves of a batch that was too large, and files of the spool. */
  #batches: (Batch | SpoolFile)[] = []
  #sending: Batch | undefined
  /** Taken from the queue, and not on disk yet. */
  #writing: Event[] = []
  #spool: Spool | undefined
  #isSpoolFailing = false
  #spoolRetryAt = 0
  #openedAt = 0
  #openFirst = Infinity
  #cutting: SpoolFile | undefined
  #hasAdopted = false
  /** The number of the last event when all was thrown away. */
  #thrownAway = 0
  #isRunning = false
  #attemptAt = 0
  #writes: Promise<void> | undefined
  #hurry = 0
  #waiters: (() => void)[] = []
  readonly #sleepers = new Set<() => void>()

  constructor(settings: Settings, platform: Platform) {
    this.#settings = checked(settings)
    this.#platform = platform
    const { batchEventsMax, batchBytesMax, queueEventsMax, queueBytesMax } = this.#settings
    this.#dueEvents = Math.min(batchEventsMax, Math.max(1, Math.floor(queueEventsMax / 2)))
    this.#dueBytes = Math.min(batchBytesMax, Math.max(1, Math.floor(queueBytesMax / 2)))
    this.#onDelivery = settings.onDelivery
    this.#log = settings.log ?? ((message) => console.warn(`tidegate: ${message}`))
    this.#context = { library: { name: platform.library, version: VERSION }, ...settings.context }
    this.#contextText = objectText('context', this.#context)
    this.experiments = new Map((settings.experiments ?? []).map((experiment) => [experiment.id, checkedExperiment(experiment)]))
    this.#isEnabled = settings.enabled ?? true
    this.#spool = platform.spool
    if (this.#isEnabled) this.#start()
  }

  /** Sends an event, and tells its id; `undefined` where it will not be sent. */
  track(eventType: string, properties?: JsonObject, options: CallOptions = {}): string | undefined {
    if (!this.#isEnabled) {
      this.#counts.suppressed++
      return undefined
    }
    const number = ++this.#counts.tracked
    try {
      const context = options.context ? objectText('context', { ...this.#context, ...object('context', options.context) }) : this.#contextText
      const [id, text] = eventText(eventType, properties, options, context, Date.now(), this.#random(), this.#platform.byteLength)
      return this.#put({ number, id, text, bytes: this.#platform.byteLength(text) }) ? id : undefined
    } catch (error) {
      const [code, message] = error instanceof Unsendable ? [error.code, error.message] : (['invalid', `the event cannot be read: ${said(error)}`] as const)
      this.#drop(typeof options?.eventId === 'string' ? options.eventId : '', code, message)
      return undefined
    }
  }

  /** A page was shown. */
  pageView(page: { url: string; path?: string; title?: string; referrer?: string }, options?: CallOptions): string | undefined {
    return this.track('page_view', page, options)
  }

  /** What is known of a user; with an `anonymousId`, also who that was. */
  identify(userId: string | number, traits?: JsonObject, options?: CallOptions): string | undefined {
    return this.track('identify', traits, { ...options, userId })
  }

  /** A goal was reached, such as `purchase`. */
  conversion(name: string, facts?: { value?: number; currency?: string } & JsonObject, options?: CallOptions): string | undefined {
    return this.track('conversion', facts, { ...options, name })
  }

  /** A subject was shown a variation. */
  exposure(experimentId: string, variationId: string, options?: CallOptions): string | undefined {
    return this.track('feature_exposure', { experiment_id: experimentId, variation_id: variationId }, options)
  }

  /**
   * The variation that a subject sees, and logs once a session that it does. The subject is the id that the experiment names.
   *
   * `whenNone` where the subject does not take part: without such an id, outside of the coverage, or where there is no such experiment.
   */
  variation(experimentId: string, who: Pick<CallOptions, 'userId' | 'anonymousId' | 'sessionId'>): string | undefined
  variation<T>(experimentId: string, who: Pick<CallOptions, 'userId' | 'anonymousId' | 'sessionId'>, whenNone: T): string | T
  variation(experimentId: string, who: Pick<CallOptions, 'userId' | 'anonymousId' | 'sessionId'>, whenNone?: unknown): unknown {
    const experiment = this.experiments.get(experimentId)
    if (!experiment) {
      this.#warn(`experiment ${experimentId}`, `there is no experiment ${experimentId}, everyone sees the default`)
      return whenNone
    }
    try {
      const { userId, anonymousId, sessionId } = who
      const id = experiment.subject === 'anonymous_id' ? anonymousId : userId
      const subject = id === undefined || id === null ? '' : String(id)
      const variation = subject === '' ? undefined : variationOf(experiment, subject)
      if (variation === undefined) return whenNone
      const session = sessionId === undefined || sessionId === null ? undefined : String(sessionId)
      if (this.#isEnabled && this.#exposures.isFirst(experimentId, variation, subject, session, Date.now())) this.exposure(experimentId, variation, { userId, anonymousId, sessionId })
      return variation
    } catch (error) {
      this.#warn('variation', `the subject of ${experimentId} cannot be read: ${said(error)}`)
      return whenNone
    }
  }

  /** Sends what is queued without waiting for batches to fill; true when all that was tracked before is delivered, rejected or dropped. */
  async flush(timeoutMs = 10_000): Promise<boolean> {
    return this.#untilSettled(this.#counts.tracked, timeoutMs)
  }

  /** True when all that was tracked before is on disk or settled: no crash of the process loses it. False without a spool. */
  async sync(timeoutMs = 10_000): Promise<boolean> {
    const through = this.#counts.tracked
    return this.#spool !== undefined && this.#until(() => this.#firstUnsynced() > through, timeoutMs)
  }

  /** Sends what there is, as long as there is time, and ends. What is left is in the spool, or dropped as `closed`; then false. */
  async close(timeoutMs = 10_000): Promise<boolean> {
    if (this.#isClosing) return this.flush(timeoutMs)
    this.#isClosing = true
    const isSettled = await this.#untilSettled(this.#counts.tracked, timeoutMs)
    this.#isOver = true
    const sending = this.#sending
    this.#sending = undefined
    if (sending?.isThrownAway) this.#abandon(sending, ...OPTED_OUT)
    else if (sending && !sending.isSpooled) this.#abandon(sending, ...CLOSED)
    for (const batch of this.#batches.filter((batch): batch is Batch => 'attempt' in batch && !batch.isSpooled)) this.#abandon(batch, ...CLOSED)
    this.#batches = []
    this.#empty(...CLOSED)
    this.#wakeUp()
    await this.#writes
    await this.#spool?.close()
    this.#settled()
    return isSettled
  }

  /** Switches the client off, and throws away what is queued and spooled; what is on its way comes to its end. */
  optOut(): void {
    this.#isEnabled = false
    this.#thrownAway = this.#counts.tracked
    if (this.#sending) this.#sending.isThrownAway = true
    const batches = this.#batches
    this.#batches = []
    for (const batch of batches) this.#abandon(batch, ...OPTED_OUT)
    this.#empty(...OPTED_OUT)
    this.#wakeUp()
    this.#settled()
  }

  /** Makes the next attempt now, as where a network is back. */
  retryNow(): void {
    this.#attemptAt = 0
    this.#wakeUp()
  }

  /** Switches it on again. */
  optIn(): void {
    this.#isEnabled = true
    this.#start()
  }

  /** Whether it is switched on. */
  get enabled(): boolean {
    return this.#isEnabled
  }

  /** The counts. */
  stats(): Stats {
    const { tracked, delivered, suppressed, retries, recovered, torn, spoolErrors } = this.#counts
    const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((total, count) => total + count, 0)
    const [dropped, rejected] = [sum(this.#counts.dropped), sum(this.#counts.rejected)]
    const pending = tracked - delivered - rejected - dropped
    return { tracked, delivered, rejected, dropped, pending, droppedBy: { ...this.#counts.dropped }, rejectedBy: { ...this.#counts.rejected }, suppressed, retries, recovered, torn, spoolErrors }
  }

  #random(): Uint8Array {
    if (this.#poolAt === RANDOM_POOL_EVENTS) {
      this.#platform.randomBytes(this.#pool)
      this.#poolAt = 0
    }
    const start = 10 * this.#poolAt++
    return this.#pool.subarray(start, start + 10)
  }

  #put(event: Event): boolean {
    const { queueEventsMax, queueBytesMax, whenFull } = this.#settings
    if (this.#isClosing) {
      this.#drop(event.id, 'closed', 'the client is closed')
      return false
    }
    let gone = 0
    const isFull = (): boolean => this.#queue.length - gone + this.#writing.length >= queueEventsMax || this.#queuedBytes + event.bytes > queueBytesMax
    if (whenFull === 'drop_oldest' && event.bytes <= queueBytesMax) {
      while (isFull() && gone < this.#queue.length) this.#queuedBytes -= (this.#queue[gone++] as Event).bytes
      if (gone > 0) for (const oldest of this.#queue.splice(0, gone)) this.#drop(oldest.id, 'queue_full', 'newer events needed its place in the queue')
      gone = 0
    }
    if (isFull()) {
      this.#drop(event.id, 'queue_full', 'the queue is full')
      return false
    }
    this.#queue.push(event)
    this.#queuedBytes += event.bytes
    if (this.#queue.length === 1) {
      this.#oldestAt = Date.now()
      this.#wakeUp()
      this.#start()
    } else if (this.#queue.length >= this.#dueEvents || this.#queuedBytes >= this.#dueBytes) this.#wakeUp()
    return true
  }

  #empty(code: DropReason, message: string): void {
    const left = this.#queue
    this.#queue = []
    this.#queuedBytes = this.#writing.reduce((sum, event) => sum + event.bytes, 0)
    for (const event of left) this.#drop(event.id, code, message)
  }

  /** Drops the events of a batch, and removes its file. */
  #abandon(batch: Batch | SpoolFile, code: DropReason, message: string): void {
    if (!('attempt' in batch)) {
      // Their ids are on disk only: they are counted, and not told one by one.
      if (batch.events > 0) this.#counts.dropped[code] = (this.#counts.dropped[code] ?? 0) + batch.events
      void this.#spool?.remove(batch)
      return
    }
    for (const event of batch.events) if (event.number > 0) this.#drop(event.id, code, message)
    if (batch.file) void this.#spool?.remove(batch.file)
  }

  #drop(eventId: string, code: DropReason, message: string): void {
    this.#counts.dropped[code] = (this.#counts.dropped[code] ?? 0) + 1
    this.#warn(code, `an event was dropped (${code}): ${message}`)
    // Never within the application's call.
    if (this.#onDelivery) queueMicrotask(() => this.#tell({ eventId, outcome: 'dropped', code, message }))
  }

  #tell(delivery: Delivery): void {
    try {
      this.#onDelivery?.(delivery)
    } catch (error) {
      this.#warn('on_delivery', `onDelivery failed: ${said(error)}`)
    }
  }

  #warn(kind: string, message: string): void {
    const now = Date.now()
    if (now - (this.#warned.get(kind) ?? -LOG_PAUSE_MS) < LOG_PAUSE_MS) return
    this.#warned.set(kind, now)
    try {
      this.#log(message)
    } catch {
      // Of the application's own; there is nowhere left to say it.
    }
  }

  #start(): void {
    if (this.#isOver) return
    if (this.#spool && !this.#writes) {
      this.#writes = this.#write().finally(() => {
        this.#writes = undefined
        // What came while it ended.
        if (this.#queue.length > 0 && !this.#isClosing) this.#start()
      })
    }
    if (!this.#isRunning && (this.#batches.length > 0 || this.#queue.length > 0)) void this.#run()
  }

  /** One batch after the other, as long as there are any. */
  async #run(): Promise<void> {
    this.#isRunning = true
    // Never within the application's call.
    await Promise.resolve()
    while (!this.#isOver) {
      const first = this.#batches[0]
      const wait = this.#untilDue()
      if (first && !('attempt' in first)) await this.#load(first)
      else if (first || wait === 0) {
        this.#sending = first ? (this.#batches.shift() as Batch) : this.#cut()
        await this.#deliver(this.#sending)
        this.#sending = undefined
        this.#settled()
      } else if (wait === undefined) break
      else await this.#pause(wait)
    }
    this.#isRunning = false
  }

  /** Reads the file that is first among the batches into its place. */
  async #load(file: SpoolFile): Promise<void> {
    const read = await this.#spool?.read(file).catch((error: unknown) => {
      this.#warn('spool', `a file of the spool cannot be read, its events are left there: ${said(error)}`)
      return undefined
    })
    // It may have been thrown away meanwhile.
    if (this.#batches[0] !== file) return
    this.#batches.shift()
    if (!read) return
    this.#counts.torn += read.torn
    const number = file.events > 0 ? file.first : 0
    const events = read.events.map(([id, text]) => ({ number, id, text, bytes: 0 }))
    if (events.length > 0) this.#batches.unshift({ events, attempt: 0, isThrownAway: false, isSpooled: true, file })
    else await this.#spool?.remove(file)
  }

  /** Milliseconds until what is queued is a batch; nothing where there is none. */
  #untilDue(): number | undefined {
    if (this.#queue.length === 0 || (this.#spool && !this.#isSpoolFailing)) return undefined
    const isDue = this.#hurry > 0 || this.#isClosing || this.#queue.length >= this.#dueEvents || this.#queuedBytes >= this.#dueBytes
    return isDue ? 0 : Math.max(0, this.#oldestAt + this.#settings.batchMs - Date.now())
  }

  #cut(): Batch {
    const { batchEventsMax, batchBytesMax } = this.#settings
    let events = 0
    let bytes = 0
    for (const event of this.#queue) {
      if (events === batchEventsMax || (events > 0 && bytes + event.bytes > batchBytesMax)) break
      events++
      bytes += event.bytes
    }
    this.#queuedBytes -= bytes
    this.#oldestAt = Date.now()
    return { events: this.#queue.splice(0, events), attempt: 0, isThrownAway: false, isSpooled: false }
  }

  /** From the queue to files of the spool, each of which is a batch when it is cut; as long as there is anything to write. */
  async #write(): Promise<void> {
    await Promise.resolve()
    const spool = this.#spool as Spool
    if (!this.#hasAdopted) {
      this.#hasAdopted = true
      const files = await spool.adopt().catch((error: unknown) => {
        this.#warn('spool', `what earlier processes left in the spool cannot be read: ${said(error)}`)
        return []
      })
      this.#batches.push(...files)
      this.#start()
    }
    while (!this.#isOver) {
      // What comes from now on must not be in a file that is thrown away.
      if (spool.openEvents > 0 && this.#openFirst <= this.#thrownAway) await this.#cutOpen(spool)
      const now = Date.now()
      const rest = Math.max(0, this.#spoolRetryAt - now)
      const isQuick = this.#hurry > 0 || this.#isClosing
      const due = spool.openEvents > 0 ? (isQuick ? 0 : Math.max(0, this.#openedAt + this.#settings.batchMs - now)) : undefined
      if (due !== 0) {
        // After a failure the queue is the sender's for a while; at the end, for good.
        if (this.#queue.length === 0 && due === undefined) return
        if (this.#isClosing && this.#isSpoolFailing) return
        if (this.#queue.length === 0 || rest > 0) {
          await this.#pause(Math.min(due ?? Infinity, rest || Infinity))
          continue
        }
        if (!isQuick) await this.#pause(this.#settings.spoolMs)
        if (this.#isOver) return
      }
      const taken = this.#spoolRetryAt > Date.now() ? [] : this.#queue.splice(0, this.#settings.batchEventsMax)
      await this.#append(spool, taken)
    }
  }

  async #append(spool: Spool, writing: Event[]): Promise<void> {
    const [first] = writing
    if (spool.openEvents === 0) {
      this.#openedAt = Date.now()
      this.#openFirst = first?.number ?? Infinity
    }
    this.#writing = writing
    let failure: unknown
    if (first) {
      await spool.append(writing.map((event) => event.text), first.number).catch((error: unknown) => {
        failure = error ?? new Error('no reason was given')
      })
      this.#isSpoolFailing = failure !== undefined
    }
    this.#writing = []
    this.#queuedBytes -= writing.reduce((sum, event) => sum + event.bytes, 0)
    if (failure !== undefined) this.#notWritten(writing, failure)
    const { batchEventsMax, batchBytesMax, batchMs } = this.#settings
    const isFull = spool.openEvents >= batchEventsMax || spool.openBytes >= batchBytesMax
    const isDue = Date.now() >= this.#openedAt + batchMs || this.#hurry > 0 || this.#isClosing
    if (failure !== undefined || isFull || isDue) await this.#cutOpen(spool)
    this.#settled()
    this.#wakeUp()
    this.#start()
  }

  async #cutOpen(spool: Spool): Promise<void> {
    // Seen while it is closed, so that nobody takes its events for settled.
    this.#cutting = { path: '', events: spool.openEvents, first: this.#openFirst }
    const file = await spool.cut()
    this.#cutting = undefined
    if (file && file.first <= this.#thrownAway) this.#abandon(file, ...OPTED_OUT)
    else if (file && !this.#isOver) this.#batches.push(file)
    this.#settled()
  }

  #notWritten(writing: Event[], failure: unknown): void {
    this.#counts.spoolErrors++
    this.#spoolRetryAt = Date.now() + SPOOL_RETRY_MS
    this.#warn('spool', `the spool cannot be written, events are sent from memory: ${said(failure)}`)
    const [first] = writing
    const isThrownAway = first !== undefined && first.number <= this.#thrownAway
    if (this.#isOver || isThrownAway) {
      const [code, message] = isThrownAway ? OPTED_OUT : CLOSED
      for (const event of writing) this.#drop(event.id, code, message)
      return
    }
    this.#queue.unshift(...writing)
    this.#queuedBytes += writing.reduce((sum, event) => sum + event.bytes, 0)
  }

  async #deliver(batch: Batch): Promise<void> {
    const { url, writeKey, timeoutMs } = this.#settings
    let retryAfter: number | undefined
    while (batch.events.length > 0) {
      this.#attemptAt = Date.now() + 1_000 * pause(batch.attempt, retryAfter, Math.random())
      while (batch.attempt > 0 && Date.now() < this.#attemptAt && !this.#isOver && !batch.isThrownAway) await this.#pause(this.#attemptAt - Date.now())
      if (this.#sending !== batch) return
      if (batch.attempt > 0 && batch.isThrownAway) {
        this.#abandon(batch, ...OPTED_OUT)
        return
      }
      if (batch.attempt > 0) this.#counts.retries++
      retryAfter = undefined
      const sentAt = timeText(Date.now())
      const body = `[${batch.events.map((event) => withSentAt(event.text, sentAt)).join(',')}]`
      const headers = { Authorization: `Bearer ${writeKey}`, 'Content-Type': 'application/json', 'X-Retry-Count': String(batch.attempt) }
      try {
        const answer = await this.#platform.post(`${url.replace(/\/+$/, '')}/v1/events`, headers, body, timeoutMs)
        if (this.#sending !== batch) return
        retryAfter = this.#settle(batch, answer)
      } catch (error) {
        this.#warn('unanswered', `${url} gives no answer, events wait: ${said(error)}`)
      }
      batch.attempt++
    }
  }

  /** Counts what an answer says, and leaves in the batch what is to be sent again. */
  #settle(batch: Batch, answer: Answer): number | undefined {
    const told = meaning(batch.events.length, answer.status, answer.body, answer.retryAfter)
    if (told.split && batch.events.length > 1) {
      const middle = Math.floor(batch.events.length / 2)
      const half = { attempt: 0, isThrownAway: false, isSpooled: batch.isSpooled }
      if (batch.isThrownAway) this.#abandon(batch, ...OPTED_OUT)
      // The file goes with the half that is sent last.
      else this.#batches.unshift({ ...half, events: batch.events.slice(0, middle) }, { ...half, events: batch.events.slice(middle), file: batch.file })
      batch.events = []
      return undefined
    }
    const left: Event[] = []
    batch.events.forEach((event, place) => {
      const fate = told.split ? TOO_LARGE : told.fates[place]
      if (fate === 'delivered') {
        if (event.number > 0) this.#counts.delivered++
        else this.#counts.recovered++
        if (this.#onDelivery) this.#tell({ eventId: event.id, outcome: 'delivered' })
      } else if (typeof fate === 'object') this.#refused(event, told.split ? 'dropped' : 'rejected', fate)
      else left.push(event)
    })
    if (left.length > 0) this.#warn('again', `${this.#settings.url} answers ${answer.status}, events wait`)
    batch.events = left
    if (left.length === 0 && batch.file) void this.#spool?.remove(batch.file)
    this.#settled()
    return told.split ? undefined : told.retryAfter
  }

  #refused(event: Event, outcome: 'rejected' | 'dropped', { code, message }: Rejected): void {
    if (event.number > 0) this.#counts[outcome][code] = (this.#counts[outcome][code] ?? 0) + 1
    else this.#counts.recovered++
    this.#warn(`${outcome} ${code}`, `event ${event.id} was ${outcome} (${code}): ${message}`)
    this.#tell({ eventId: event.id, outcome, code, message })
  }

  #untilSettled(through: number, timeoutMs: number): Promise<boolean> {
    return this.#until(() => this.#firstUnsettled() > through, timeoutMs)
  }

  async #until(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    const until = Date.now() + timeoutMs
    this.#hurry++
    this.#wakeUp()
    try {
      while (!holds()) {
        const left = until - Date.now()
        if (left <= 0 || this.#isOver) return false
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, left)
          this.#waiters.push(() => {
            clearTimeout(timer)
            resolve()
          })
        })
      }
      return true
    } finally {
      this.#hurry--
    }
  }

  /** The number of the oldest event that is neither delivered, rejected nor dropped. */
  #firstUnsettled(): number {
    const open = this.#spool && this.#spool.openEvents > 0 ? this.#openFirst : Infinity
    const numbers = [this.#sending, this.#cutting, ...this.#batches].map((batch) => {
      if (!batch) return Infinity
      if (!('attempt' in batch)) return batch.events > 0 ? batch.first : Infinity
      return batch.events[0]?.number || Infinity
    })
    return Math.min(open, this.#firstInMemory(), ...numbers)
  }

  /** The number of the oldest event that is neither settled nor on disk. */
  #firstUnsynced(): number {
    const unspooled = [this.#sending, ...this.#batches].map((batch) => (batch && 'attempt' in batch && !batch.isSpooled ? (batch.events[0]?.number ?? Infinity) : Infinity))
    return Math.min(this.#firstInMemory(), ...unspooled)
  }

  #firstInMemory(): number {
    return Math.min(this.#writing[0]?.number ?? Infinity, this.#queue[0]?.number ?? Infinity)
  }

  #settled(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#sleepers.delete(wake)
        resolve()
      }
      const timer = ms === Infinity ? undefined : setTimeout(wake, Math.max(0, ms))
      if (timer !== undefined) this.#platform.unref(timer)
      this.#sleepers.add(wake)
    })
  }

  #wakeUp(): void {
    for (const wake of [...this.#sleepers]) wake()
  }
}

function object(name: string, value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Unsendable('invalid', `${name} must be an object`)
  return value as JsonObject
}

function said(error: unknown): string {
  try {
    return error instanceof Error ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}` : String(error)
  } catch {
    return 'something that cannot be told'
  }
}

function checked(settings: Settings): Required<Omit<Settings, 'onDelivery' | 'log' | 'context' | 'enabled' | 'experiments'>> {
  const whole = {
    batchEventsMax: 500,
    batchBytesMax: 512 * 1024,
    batchMs: 1_000,
    queueEventsMax: 10_000,
    queueBytesMax: 32 * 1024 * 1024,
    whenFull: 'drop_newest' as const,
    timeoutMs: 10_000,
    spoolMs: 50,
    ...settings,
  }
  if (!whole.writeKey) throw new RangeError('writeKey is empty; `tidegate source add NAME` makes one')
  if (!['drop_newest', 'drop_oldest'].includes(whole.whenFull)) throw new RangeError('whenFull must be drop_newest or drop_oldest')
  for (const name of ['batchEventsMax', 'batchBytesMax', 'queueEventsMax', 'queueBytesMax', 'timeoutMs'] as const) {
    if (!(whole[name] >= 1)) throw new RangeError(`${name} must be at least 1`)
  }
  for (const name of ['batchMs', 'spoolMs'] as const) if (!(whole[name] >= 0)) throw new RangeError(`${name} must not be negative`)
  return whole
}
