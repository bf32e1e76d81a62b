/** The client: what an application calls. */

import { Engine, said, type Bounds } from './engine.js'
import { eventText, objectOf, objectText, Unsendable, type CallOptions, type JsonObject } from './event.js'
import { checkedExperiment, Exposures, variationOf, type Experiment } from './experiments.js'
import type { Platform, Settings, Stats } from './types.js'

export const VERSION = '0.1.0'

const RANDOM_POOL_EVENTS = 256

/** Sends events. No call throws or waits; what cannot be sent is counted in `stats()`, told to `onDelivery`, and logged. */
export class Client {
  readonly #engine: Engine
  readonly #platform: Platform
  readonly #context: JsonObject
  readonly #contextText: string
  readonly #pool = new Uint8Array(10 * RANDOM_POOL_EVENTS)
  #poolAt = RANDOM_POOL_EVENTS
  /** Those that `variation` knows, by id. */
  readonly experiments: ReadonlyMap<string, Experiment>
  readonly #exposures = new Exposures()
  readonly #settings: Settings
  #isEnabled: boolean

  constructor(settings: Settings, platform: Platform) {
    const bounds = checked(settings)
    this.#platform = platform
    this.#context = { library: { name: platform.library, version: VERSION }, ...settings.context }
    this.#contextText = objectText('context', this.#context)
    this.experiments = new Map((settings.experiments ?? []).map((experiment) => [experiment.id, checkedExperiment(experiment)]))
    this.#settings = settings
    this.#isEnabled = settings.enabled ?? true
    this.#engine = new Engine(bounds, platform, settings.onDelivery, settings.log ?? ((message) => console.warn(`tidegate: ${message}`)))
    if (this.#isEnabled) this.#engine.start()
  }

  /** Sends an event, and tells its id; `undefined` where it will not be sent. */
  track(eventType: string, properties?: JsonObject, options: CallOptions = {}): string | undefined {
    if (!this.#isEnabled) {
      this.#engine.suppress()
      return undefined
    }
    try {
      const traceparent = this.#settings.traceparent?.()
      const context = traceparent || options.context ? objectText('context', { ...this.#context, traceparent, ...objectOf('context', options.context ?? {}) }) : this.#contextText
      const [id, text] = eventText(eventType, properties, options, context, Date.now(), this.#random(), this.#platform.byteLength)
      const verdict = this.#settings.plan?.judge(`${text}}`)
      if (verdict?.isRejected) {
        this.#engine.refuse('rejected', id, verdict.code, verdict.message)
        return undefined
      }
      if (verdict) this.#engine.warn(`plan ${verdict.code}`, verdict.message)
      return this.#engine.put(id, text) ? id : undefined
    } catch (error) {
      const [code, message] = error instanceof Unsendable ? [error.code, error.message] : (['invalid', `the event cannot be read: ${said(error)}`] as const)
      this.#engine.refuse('dropped', typeof options?.eventId === 'string' ? options.eventId : '', code, message)
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
      this.#engine.warn(`experiment ${experimentId}`, `there is no experiment ${experimentId}, everyone sees the default`)
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
      this.#engine.warn('variation', `the subject of ${experimentId} cannot be read: ${said(error)}`)
      return whenNone
    }
  }

  /** Sends what is queued without waiting for batches to fill; true when all that was tracked before is delivered, rejected or dropped. */
  flush(timeoutMs = 10_000): Promise<boolean> {
    return this.#engine.flush(timeoutMs)
  }

  /** True when all that was tracked before is on disk or settled: no crash of the process loses it. False without a spool. */
  sync(timeoutMs = 10_000): Promise<boolean> {
    return this.#engine.sync(timeoutMs)
  }

  /** Sends what there is, as long as there is time, and ends. What is left is in the spool, or dropped as `closed`; then false. */
  close(timeoutMs = 10_000): Promise<boolean> {
    return this.#engine.close(timeoutMs)
  }

  /** Switches the client off, and throws away what is queued and spooled; what is on its way comes to its end. */
  optOut(): void {
    this.#isEnabled = false
    this.#engine.throwAway()
  }

  /** Switches it on again. */
  optIn(): void {
    this.#isEnabled = true
    this.#engine.start()
  }

  /** Whether it is switched on. */
  get enabled(): boolean {
    return this.#isEnabled
  }

  /** Makes the next attempt now, as where a network is back. */
  retryNow(): void {
    this.#engine.retryNow()
  }

  /** The counts. */
  stats(): Stats {
    return this.#engine.stats()
  }

  #random(): Uint8Array {
    if (this.#poolAt === RANDOM_POOL_EVENTS) {
      this.#platform.randomBytes(this.#pool)
      this.#poolAt = 0
    }
    const start = 10 * this.#poolAt++
    return this.#pool.subarray(start, start + 10)
  }
}

function checked(settings: Settings): Bounds {
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
