/** The client: what an application calls, and the queue, the batches and the attempts behind it. The same for Node and browsers; what differs is the `Platform`. */

import { meaning, pause, type Rejected } from './answers.js'
import { eventText, objectText, Unsendable, withSentAt, timeText, type CallOptions, type JsonObject } from './event.js'

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
  /** In memory or on its way. */
  pending: number
  /** By reason. */
  droppedBy: Record<string, number>
  /** By code. */
  rejectedBy: Record<string, number>
  /** Calls while it was switched off. */
  suppressed: number
  /** Requests that were sent again. */
  retries: number
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
}

/** A request to the gate, and what it answered. Rejects where there was no answer. */
export type Post = (url: string, headers: Record<string, string>, body: string, timeoutMs: number) => Promise<Answer>

export interface Answer {
  status: number
  body: string
  retryAfter: string | null
}

/** What differs between Node and browsers. */
export interface Platform {
  library: string
  post: Post
  byteLength: (text: string) => number
  randomBytes: (bytes: Uint8Array) => void
  /** Keeps a timer from holding the process. */
  unref: (timer: unknown) => void
}

export const VERSION = '0.1.0'

const LOG_PAUSE_MS = 60_000
const RANDOM_POOL_EVENTS = 256
const OPTED_OUT = ['opted_out', 'the client was switched off'] as const

interface Event {
  /** Its number in this process. */
  number: number
  id: string
  /** Without the brace at its end. */
  text: string
  bytes: number
}

interface Batch {
  events: Event[]
  attempt: number
  isThrownAway: boolean
}

/** Sends events. No call throws or waits; what cannot be sent is counted in `stats()`, told to `onDelivery`, and logged. */
export class Client {
  readonly #settings: Required<Omit<Settings, 'onDelivery' | 'log' | 'context' | 'enabled'>>
  readonly #platform: Platform
  readonly #onDelivery: ((delivery: Delivery) => void) | undefined
  readonly #log: (message: string) => void
  readonly #context: JsonObject
  readonly #contextText: string
  readonly #counts = { tracked: 0, delivered: 0, suppressed: 0, retries: 0, dropped: {} as Record<string, number>, rejected: {} as Record<string, number> }
  readonly #pool = new Uint8Array(10 * RANDOM_POOL_EVENTS)
  #poolAt = RANDOM_POOL_EVENTS
  /** So many are sent without waiting for more: a batch, or half of what the queue holds. */
  readonly #dueEvents: number
  readonly #dueBytes: number
  readonly #warned = new Map<string, number>()
  #isEnabled: boolean
  #isClosing = false
  #isOver = false
  #queue: Event[] = []
  #queuedBytes = 0
  #oldestAt = 0
  readonly #batches: Batch[] = []
  #sending: Batch | undefined
  #isRunning = false
  #hurry = 0
  #waiters: (() => void)[] = []
  #wake: (() => void) | undefined

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
    this.#isEnabled = settings.enabled ?? true
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

  /** Sends what is queued without waiting for batches to fill; true when all that was tracked before is delivered, rejected or dropped. */
  async flush(timeoutMs = 10_000): Promise<boolean> {
    return this.#untilSettled(this.#counts.tracked, timeoutMs)
  }

  /** Sends what there is, as long as there is time, and ends. What is left is dropped as `closed`; then false. */
  async close(timeoutMs = 10_000): Promise<boolean> {
    if (this.#isClosing) return this.flush(timeoutMs)
    this.#isClosing = true
    const isSettled = await this.#untilSettled(this.#counts.tracked, timeoutMs)
    this.#isOver = true
    const left = [...(this.#sending?.events ?? []), ...this.#batches.flatMap((batch) => batch.events), ...this.#queue]
    this.#sending = undefined
    this.#batches.length = 0
    this.#empty()
    for (const event of left) this.#drop(event.id, 'closed', 'the client was closed before it could be sent')
    this.#wakeUp()
    this.#settled()
    return isSettled
  }

  /** Switches the client off, and throws away what is queued; what is on its way comes to its end. */
  optOut(): void {
    this.#isEnabled = false
    if (this.#sending) this.#sending.isThrownAway = true
    const left = [...this.#batches.flatMap((batch) => batch.events), ...this.#queue]
    this.#batches.length = 0
    this.#empty()
    for (const event of left) this.#drop(event.id, ...OPTED_OUT)
    this.#wakeUp()
    this.#settled()
  }

  /** Switches it on again. */
  optIn(): void {
    this.#isEnabled = true
  }

  /** Whether it is switched on. */
  get enabled(): boolean {
    return this.#isEnabled
  }

  /** The counts. */
  stats(): Stats {
    const { tracked, delivered, suppressed, retries } = this.#counts
    const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((total, count) => total + count, 0)
    const [dropped, rejected] = [sum(this.#counts.dropped), sum(this.#counts.rejected)]
    const pending = tracked - delivered - rejected - dropped
    return { tracked, delivered, rejected, dropped, pending, droppedBy: { ...this.#counts.dropped }, rejectedBy: { ...this.#counts.rejected }, suppressed, retries }
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
    const isFull = (): boolean => this.#queue.length - gone >= queueEventsMax || this.#queuedBytes + event.bytes > queueBytesMax
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
      if (this.#isRunning) this.#wakeUp()
      else void this.#run()
    } else if (this.#queue.length >= this.#dueEvents || this.#queuedBytes >= this.#dueBytes) this.#wakeUp()
    return true
  }

  #empty(): void {
    this.#queue = []
    this.#queuedBytes = 0
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

  /** One batch after the other, as long as there are any. */
  async #run(): Promise<void> {
    this.#isRunning = true
    // Never within the application's call.
    await Promise.resolve()
    while (!this.#isOver) {
      const batch = this.#batches.shift() ?? this.#due()
      if (batch) {
        this.#sending = batch
        await this.#deliver(batch)
        this.#sending = undefined
        this.#settled()
      } else if (this.#queue.length === 0) break
      else await this.#pause(this.#oldestAt + this.#settings.batchMs - Date.now())
    }
    this.#isRunning = false
  }

  #due(): Batch | undefined {
    const { batchEventsMax, batchBytesMax, batchMs } = this.#settings
    const isDue =
      this.#hurry > 0 ||
      this.#isClosing ||
      this.#queue.length >= this.#dueEvents ||
      this.#queuedBytes >= this.#dueBytes ||
      Date.now() >= this.#oldestAt + batchMs
    if (!isDue || this.#queue.length === 0) return undefined
    let events = 0
    let bytes = 0
    for (const event of this.#queue) {
      if (events === batchEventsMax || (events > 0 && bytes + event.bytes > batchBytesMax)) break
      events++
      bytes += event.bytes
    }
    this.#queuedBytes -= bytes
    this.#oldestAt = Date.now()
    return { events: this.#queue.splice(0, events), attempt: 0, isThrownAway: false }
  }

  async #deliver(batch: Batch): Promise<void> {
    const { url, writeKey, timeoutMs } = this.#settings
    let retryAfter: number | undefined
    while (batch.events.length > 0) {
      const until = Date.now() + 1_000 * pause(batch.attempt, retryAfter, Math.random())
      while (batch.attempt > 0 && Date.now() < until && !this.#isOver && !batch.isThrownAway) await this.#pause(until - Date.now())
      if (this.#sending !== batch) return
      if (batch.attempt > 0 && batch.isThrownAway) {
        for (const event of batch.events) this.#drop(event.id, ...OPTED_OUT)
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
    if (told.split) {
      const [only] = batch.events
      const middle = Math.ceil(batch.events.length / 2)
      if (batch.events.length === 1 && only) this.#drop(only.id, 'too_large', 'the gate takes no event of this size')
      else if (batch.isThrownAway) for (const event of batch.events) this.#drop(event.id, ...OPTED_OUT)
      else this.#batches.unshift(...[batch.events.slice(0, middle), batch.events.slice(middle)].map((events) => ({ events, attempt: 0, isThrownAway: false })))
      batch.events = []
      return undefined
    }
    const left: Event[] = []
    batch.events.forEach((event, place) => {
      const fate = told.fates[place]
      if (fate === 'delivered') {
        this.#counts.delivered++
        if (this.#onDelivery) this.#tell({ eventId: event.id, outcome: 'delivered' })
      } else if (typeof fate === 'object') this.#reject(event.id, fate)
      else left.push(event)
    })
    if (left.length > 0) this.#warn('again', `${this.#settings.url} answers ${answer.status}, events wait`)
    batch.events = left
    this.#settled()
    return told.retryAfter
  }

  #reject(eventId: string, { code, message }: Rejected): void {
    this.#counts.rejected[code] = (this.#counts.rejected[code] ?? 0) + 1
    this.#warn(`rejected ${code}`, `event ${eventId} was rejected (${code}): ${message}`)
    this.#tell({ eventId, outcome: 'rejected', code, message })
  }

  async #untilSettled(through: number, timeoutMs: number): Promise<boolean> {
    const until = Date.now() + timeoutMs
    this.#hurry++
    this.#wakeUp()
    try {
      while (this.#firstUnsettled() <= through) {
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

  #firstUnsettled(): number {
    const firsts = [this.#sending?.events, ...this.#batches.map((batch) => batch.events), this.#queue].map((events) => events?.[0]?.number ?? Infinity)
    return Math.min(...firsts)
  }

  #settled(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wakeUp(), Math.max(0, ms))
      this.#platform.unref(timer)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #wakeUp(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
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

function checked(settings: Settings): Required<Omit<Settings, 'onDelivery' | 'log' | 'context' | 'enabled'>> {
  const whole = {
    batchEventsMax: 500,
    batchBytesMax: 512 * 1024,
    batchMs: 1_000,
    queueEventsMax: 10_000,
    queueBytesMax: 32 * 1024 * 1024,
    whenFull: 'drop_newest' as const,
    timeoutMs: 10_000,
    ...settings,
  }
  if (!whole.writeKey) throw new RangeError('writeKey is empty; `tidegate source add NAME` makes one')
  if (!['drop_newest', 'drop_oldest'].includes(whole.whenFull)) throw new RangeError('whenFull must be drop_newest or drop_oldest')
  for (const name of ['batchEventsMax', 'batchBytesMax', 'queueEventsMax', 'queueBytesMax', 'timeoutMs'] as const) {
    if (!(whole[name] >= 1)) throw new RangeError(`${name} must be at least 1`)
  }
  if (!(whole.batchMs >= 0)) throw new RangeError('batchMs must not be negative')
  return whole
}
