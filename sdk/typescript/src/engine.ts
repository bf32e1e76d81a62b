/** What goes on behind the calls of a client: a bounded queue, batches, the spool, attempts. The same for Node and browsers. */

import { meaning, pause } from './answers.js'
import { withSentAt, timeText } from './event.js'
import type { Answer, Delivery, DropReason, Platform, Settings, Spool, SpoolFile, Stats } from './types.js'

const LOG_PAUSE_MS = 60_000
/** After the spool could not be written. */
const SPOOL_RETRY_MS = 1_000
const OPTED_OUT = ['opted_out', 'the client was switched off'] as const
const TOO_LARGE = { code: 'too_large', message: 'the gate takes no event of this size' }
const CLOSED = ['closed', 'the client is closed'] as const
const FULL = ['queue_full', 'the queue is full'] as const

/** The settings with all that was not said. */
export type Bounds = Required<Omit<Settings, 'onDelivery' | 'log' | 'context' | 'traceparent' | 'enabled' | 'experiments' | 'plan'>>

/** As it waits. */
interface Event {
  /** Its number in this process, 0 where it is of an earlier one. */
  number: number
  id: string
  /** Without the brace at its end. */
  text: string
  bytes: number
}

/** What is told of it. */
type Named = Pick<Event, 'id' | 'number'>

interface Batch {
  events: Event[]
  attempt: number
  /** No further attempt is to be made. */
  isThrownAway: boolean
  isSpooled: boolean
  /** What is to be removed when the last of them is answered. */
  file?: SpoolFile | undefined
}

/** Of one client. */
export class Engine {
  readonly #settings: Bounds
  readonly #platform: Platform
  readonly #onDelivery: ((delivery: Delivery) => void) | undefined
  readonly #log: (message: string) => void
  readonly #counts = { tracked: 0, delivered: 0, suppressed: 0, retries: 0, recovered: 0, torn: 0, spoolErrors: 0, dropped: {} as Record<string, number>, rejected: {} as Record<string, number> }
  /** So many are sent without waiting for more: a batch, or half of what the queue holds. */
  readonly #dueEvents: number
  readonly #dueBytes: number
  readonly #warned = new Map<string, number>()
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

  constructor(settings: Bounds, platform: Platform, onDelivery: ((delivery: Delivery) => void) | undefined, log: (message: string) => void) {
    this.#settings = settings
    this.#platform = platform
    this.#onDelivery = onDelivery
    this.#log = log
    const { batchEventsMax, batchBytesMax, queueEventsMax, queueBytesMax } = settings
    this.#dueEvents = Math.min(batchEventsMax, Math.max(1, queueEventsMax / 2))
    this.#dueBytes = Math.min(batchBytesMax, Math.max(1, queueBytesMax / 2))
    this.#spool = platform.spool
  }

  /** Takes an event into the queue, or drops one as the policy says. False: it was this one. */
  put(id: string, text: string): boolean {
    return this.#put({ number: ++this.#counts.tracked, id, text, bytes: this.#platform.byteLength(text) })
  }

  /** Counts an event that ended in its call. */
  refuse(outcome: 'rejected' | 'dropped', eventId: string, code: string, message: string): void {
    this.#ended(outcome, { id: eventId, number: ++this.#counts.tracked }, code, message)
  }

  /** Counts a call while the client is switched off. */
  suppress(): void {
    this.#counts.suppressed++
  }

  /** Sends what is queued without waiting for batches to fill; true when all that was tracked before is delivered, rejected or dropped. */
  flush(timeoutMs = 10_000): Promise<boolean> {
    return this.#untilSettled(this.#counts.tracked, timeoutMs)
  }

  /** True when all that was tracked before is on disk or settled: no crash of the process loses it. False without a spool. */
  sync(timeoutMs = 10_000): Promise<boolean> {
    const through = this.#counts.tracked
    return this.#spool ? this.#until(() => this.#firstUnsynced() > through, timeoutMs) : Promise.resolve(false)
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

  /** Drops what is queued and spooled; what is on its way comes to its end. */
  throwAway(): void {
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

  /** The counts. */
  stats(): Stats {
    const { tracked, delivered, suppressed, retries, recovered, torn, spoolErrors } = this.#counts
    const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((total, count) => total + count, 0)
    const [dropped, rejected] = [sum(this.#counts.dropped), sum(this.#counts.rejected)]
    const pending = tracked - delivered - rejected - dropped
    return { tracked, delivered, rejected, dropped, pending, droppedBy: { ...this.#counts.dropped }, rejectedBy: { ...this.#counts.rejected }, suppressed, retries, recovered, torn, spoolErrors }
  }

  #put(event: Event): boolean {
    const { queueEventsMax, queueBytesMax, whenFull } = this.#settings
    if (this.#isClosing) {
      this.#drop(event, ...CLOSED)
      return false
    }
    let gone = 0
    const isFull = (): boolean => this.#queue.length - gone + this.#writing.length >= queueEventsMax || this.#queuedBytes + event.bytes > queueBytesMax
    if (whenFull === 'drop_oldest' && event.bytes <= queueBytesMax) {
      while (isFull() && gone < this.#queue.length) this.#queuedBytes -= (this.#queue[gone++] as Event).bytes
      if (gone > 0) for (const oldest of this.#queue.splice(0, gone)) this.#drop(oldest, ...FULL)
      gone = 0
    }
    if (isFull()) {
      this.#drop(event, ...FULL)
      return false
    }
    this.#queue.push(event)
    this.#queuedBytes += event.bytes
    if (this.#queue.length === 1) {
      this.#oldestAt = Date.now()
      this.#wakeUp()
      this.start()
    } else if (this.#queue.length >= this.#dueEvents || this.#queuedBytes >= this.#dueBytes) this.#wakeUp()
    return true
  }

  #empty(code: DropReason, message: string): void {
    const left = this.#queue
    this.#queue = []
    this.#queuedBytes = this.#writing.reduce((sum, event) => sum + event.bytes, 0)
    for (const event of left) this.#drop(event, code, message)
  }

  /** Drops the events of a batch, and removes its file. */
  #abandon(batch: Batch | SpoolFile, code: DropReason, message: string): void {
    if (!('attempt' in batch)) {
      // Their ids are on disk only: they are counted, and not told one by one.
      if (batch.events > 0) this.#counts.dropped[code] = (this.#counts.dropped[code] ?? 0) + batch.events
      void this.#spool?.remove(batch)
      return
    }
    for (const event of batch.events) if (event.number > 0) this.#drop(event, code, message)
    if (batch.file) void this.#spool?.remove(batch.file)
  }

  #drop(event: Named, code: DropReason, message: string): void {
    this.#ended('dropped', event, code, message)
  }

  #ended(outcome: 'rejected' | 'dropped', { id, number }: Named, code: string, message: string): void {
    if (number > 0) this.#counts[outcome][code] = (this.#counts[outcome][code] ?? 0) + 1
    else this.#counts.recovered++
    this.warn(`${outcome} ${code}`, `event ${id} was ${outcome} (${code}): ${message}`)
    // Never within the application's call.
    if (this.#onDelivery) queueMicrotask(() => this.#tell({ eventId: id, outcome, code, message }))
  }

  #tell(delivery: Delivery): void {
    try {
      this.#onDelivery?.(delivery)
    } catch (error) {
      this.warn('on_delivery', `onDelivery failed: ${said(error)}`)
    }
  }

  /** Says what is wrong, one of a kind a minute. */
  warn(kind: string, message: string): void {
    const now = Date.now()
    if (now - (this.#warned.get(kind) ?? -LOG_PAUSE_MS) < LOG_PAUSE_MS) return
    this.#warned.set(kind, now)
    try {
      this.#log(message)
    } catch {
      // Of the application's own; there is nowhere left to say it.
    }
  }

  /** Goes on with what there is to do. */
  start(): void {
    if (this.#isOver) return
    if (this.#spool && !this.#writes) {
      this.#writes = this.#write()
        .catch((error: unknown) => {
          this.#queue.unshift(...this.#writing)
          this.#writing = []
          this.#fault(error)
        })
        .finally(() => {
          this.#writes = undefined
          // What came while it ended.
          if (this.#queue.length > 0 && !this.#isClosing) this.start()
        })
    }
    if (!this.#isRunning && (this.#batches.length > 0 || this.#queue.length > 0)) {
      this.#run().catch((error: unknown) => {
        if (this.#sending) this.#batches.unshift(this.#sending)
        this.#sending = undefined
        this.#isRunning = false
        this.#fault(error)
      })
    }
  }

  /** One of ours: nothing is lost by it, the next call goes on with what was being sent or written. */
  #fault(error: unknown): void {
    this.warn('fault', `a fault of the client: ${said(error)}`)
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
      this.warn('spool', `the spool cannot be read, its events are left there: ${said(error)}`)
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
        this.warn('spool', `the spool cannot be read, its events are left there: ${said(error)}`)
        return []
      })
      this.#batches.push(...files)
      this.start()
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
    this.start()
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
    this.warn('spool', `the spool cannot be written, events are sent from memory: ${said(failure)}`)
    for (const event of writing.reverse()) {
      // What was thrown away meanwhile must not be sent.
      if (event.number <= this.#thrownAway) this.#drop(event, ...OPTED_OUT)
      else if (this.#isOver) this.#drop(event, ...CLOSED)
      else {
        this.#queue.unshift(event)
        this.#queuedBytes += event.bytes
      }
    }
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
        this.warn('unanswered', `${url} gives no answer, events wait: ${said(error)}`)
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
      } else if (typeof fate === 'object') this.#ended(told.split ? 'dropped' : 'rejected', event, fate.code, fate.message)
      else left.push(event)
    })
    if (left.length > 0) this.warn('again', `${this.#settings.url} answers ${answer.status}, events wait`)
    batch.events = left
    if (left.length === 0 && batch.file) void this.#spool?.remove(batch.file)
    this.#settled()
    return told.split ? undefined : told.retryAfter
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

/** An error as a text, whatever was thrown. */
export function said(error: unknown): string {
  try {
    return error instanceof Error ? `${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}` : String(error)
  } catch {
    return 'it cannot be told'
  }
}
