/** For browsers: page views, and a queue in localStorage that outlives the page. */

import { Client } from './client.js'
import type { CallOptions, JsonObject } from './event.js'
import type { Answer, Settings, Spool, SpoolFile } from './types.js'

export { VERSION } from './client.js'
export type { Delivery, DropReason, Settings, Stats } from './types.js'
export type { Experiment } from './experiments.js'
export type { CallOptions, Json, JsonObject } from './event.js'

/** Times are milliseconds. */
export interface BrowserSettings extends Settings {
  /** Page views by themselves, also where an application changes the address without loading a page; true if it is not said. */
  pageViews?: boolean
  /** Goes before the names of what is kept in localStorage. */
  storagePrefix?: string
  /** In localStorage, over all tabs. */
  spoolBytesMax?: number
}

const PREFIX = 'tidegate'
const SPOOL_BYTES_MAX = 1024 * 1024
const SESSION_MS = 30 * 60 * 1_000
/** What browsers let go on after a page is gone, less a margin: 64 KiB for all requests together. */
const KEEPALIVE_BYTES_MAX = 60_000
/** So long batches do not wait to be full, once a page may be about to go. */
const LEAVE_MS = 1_000
const BEAT_MS = 5_000
/** A tab that has not been heard of for so long is gone, or frozen. In the background timers run once a minute. */
const DEAD_MS = 180_000

/** localStorage, or nothing where a browser has none to give. */
function storage(): Storage | undefined {
  try {
    const found = globalThis.localStorage
    found.setItem(PREFIX, '')
    found.removeItem(PREFIX)
    return found
  } catch {
    return undefined
  }
}

/** 128 random bits: `crypto.randomUUID` is there on secure pages only. */
const uuid = (): string => [...crypto.getRandomValues(new Uint32Array(4))].map((bits) => bits.toString(36)).join('')

/** Batches in localStorage: `{prefix}.{tab}.{number}`, with `{prefix}.{tab}` saying when the tab was last alive. */
class TabSpool implements Spool {
  openEvents = 0
  openBytes = 0
  readonly #store: Storage
  readonly #prefix: string
  readonly #bytesMax: number
  readonly #tab: string
  /** None after it was closed. */
  #timer: ReturnType<typeof setInterval> | undefined
  #number = 0
  #open: SpoolFile | undefined

  constructor(store: Storage, prefix: string, bytesMax: number) {
    this.#store = store
    this.#prefix = `${prefix}.q`
    this.#bytesMax = bytesMax
    this.#tab = `${this.#prefix}.${uuid()}`
    this.#timer = setInterval(() => this.beat(), BEAT_MS)
    this.beat()
  }

  /** Says that the tab lives; or, with 0, that others may have what it leaves. */
  beat(at = Date.now()): void {
    if (!this.#timer) return
    try {
      this.#store.setItem(this.#tab, String(at))
    } catch {
      // It is full: what cannot be stored is sent from memory.
    }
  }

  async adopt(): Promise<SpoolFile[]> {
    const files: SpoolFile[] = []
    for (const key of this.#keys()) {
      const [tab] = /^(.*)\.\d+$/.exec(key)?.slice(1) ?? [key]
      if (tab === this.#tab || Date.now() - Number(this.#store.getItem(tab as string) ?? 0) < DEAD_MS) continue
      const lines = key === tab ? null : this.#store.getItem(key)
      this.#store.removeItem(key)
      // Another tab may have taken it a moment ago.
      if (lines === null) continue
      const path = `${this.#tab}.${++this.#number}`
      this.#store.setItem(path, lines)
      files.push({ path, events: 0, first: 0 })
    }
    return files
  }

  async append(texts: string[], first: number): Promise<void> {
    const file = (this.#open ??= { path: `${this.#tab}.${++this.#number}`, events: 0, first })
    const lines = (this.#store.getItem(file.path) ?? '') + texts.map((text) => `${text}}\n`).join('')
    const used = this.#keys().reduce((sum, key) => sum + (this.#store.getItem(key)?.length ?? 0), 0)
    if (used + lines.length > this.#bytesMax) throw new Error('the queue in localStorage is full')
    this.#store.setItem(file.path, lines)
    file.events += texts.length
    this.openEvents = file.events
    this.openBytes = lines.length
  }

  async cut(): Promise<SpoolFile | undefined> {
    const file = this.#open
    this.#open = undefined
    this.openEvents = this.openBytes = 0
    return file?.events ? file : undefined
  }

  async read(file: SpoolFile): Promise<{ events: [string, string][]; torn: number }> {
    const lines = (this.#store.getItem(file.path) ?? '').split('\n').filter(Boolean)
    return { events: lines.map((line) => [(JSON.parse(line) as { event_id: string }).event_id, line.slice(0, -1)]), torn: 0 }
  }

  async remove(file: SpoolFile): Promise<void> {
    this.#store.removeItem(file.path)
  }

  async close(): Promise<void> {
    this.beat(0)
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #keys(): string[] {
    return Object.keys(this.#store).filter((key) => key.startsWith(`${this.#prefix}.`))
  }
}

async function post(url: string, headers: Record<string, string>, body: string, timeoutMs: number): Promise<Answer> {
  // A page that goes away does not take with it what is on its way.
  const answer = await fetch(url, { method: 'POST', headers, body, keepalive: body.length < KEEPALIVE_BYTES_MAX, signal: AbortSignal.timeout(timeoutMs), credentials: 'omit' })
  return { status: answer.status, body: await answer.text(), retryAfter: answer.headers.get('retry-after') }
}

/**
 * Sends events to Tidegate from a page. One for each write key is enough.
 *
 * Who is behind it is an id made here (`anonymous_id`, in localStorage), and a session that ends after half an hour without an event. `setUser` says who that is.
 */
export class TidegateBrowser extends Client {
  readonly #store: Storage | undefined
  readonly #prefix: string
  readonly #memory = new Map<string, string>()
  #userId: string | number | undefined
  #lastUrl = ''
  #referrer = document.referrer

  constructor(settings: BrowserSettings) {
    const { pageViews = true, storagePrefix = PREFIX, spoolBytesMax = SPOOL_BYTES_MAX, ...rest } = settings
    const store = storage()
    const spool = store && new TabSpool(store, storagePrefix, spoolBytesMax)
    super({ spoolMs: 0, queueEventsMax: 1_000, queueBytesMax: 2 ** 20, ...rest }, {
      spool,
      library: 'tidegate-browser',
      post,
      byteLength: (text) => new Blob([text]).size,
      randomBytes: (bytes) => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>),
      unref: () => {},
    })
    this.#store = store
    this.#prefix = storagePrefix
    const leaves = (): void => {
      // Sent while the page still is there; what is not answered is in localStorage.
      void this.flush(LEAVE_MS)
    }
    addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && leaves())
    addEventListener('pagehide', (event) => {
      leaves()
      // One that is kept to be gone back to goes on with what it has.
      if (!event.persisted) spool?.beat(0)
    })
    addEventListener('pageshow', (event) => event.persisted && spool?.beat())
    addEventListener('online', () => this.retryNow())
    if (pageViews) this.#watchPages()
  }

  /** Who uses the page, from now on; nobody known with `undefined`. Their traits go with `identify`. */
  setUser(userId: string | number | undefined): void {
    this.#userId = userId
  }

  override track(eventType: string, properties?: JsonObject, options: CallOptions = {}): string | undefined {
    if (!this.enabled) return super.track(eventType, properties, options)
    const page = { url: location.href, path: location.pathname, title: document.title, referrer: this.#referrer, search: location.search }
    const facts = { page, locale: navigator.language, userAgent: navigator.userAgent, screen: { width: screen.width, height: screen.height } }
    return super.track(eventType, properties, {
      ...options,
      userId: options.userId ?? this.#userId,
      anonymousId: options.anonymousId ?? this.#kept('anonymous'),
      sessionId: options.sessionId ?? this.#session(),
      context: { ...facts, ...options.context },
    })
  }

  override variation(experimentId: string, who: Pick<CallOptions, 'userId' | 'anonymousId' | 'sessionId'> = {}, whenNone?: unknown): string | undefined {
    return super.variation(experimentId, { userId: this.#userId, anonymousId: this.#kept('anonymous'), sessionId: this.#session(), ...who }, whenNone) as string | undefined
  }

  /** Also forgets the visitor. */
  override optOut(): void {
    super.optOut()
    for (const name of ['anonymous', 'session']) {
      this.#memory.delete(name)
      this.#store?.removeItem(`${this.#prefix}.${name}`)
    }
  }

  #watchPages(): void {
    const see = (): void => {
      const url = location.href
      if (url === this.#lastUrl) return
      if (this.#lastUrl) this.#referrer = this.#lastUrl
      this.#lastUrl = url
      this.pageView({ url, path: location.pathname, title: document.title, referrer: this.#referrer })
    }
    // After the application has set the title.
    const soon = (): void => void setTimeout(see)
    for (const name of ['pushState', 'replaceState'] as const) {
      const original = history[name]
      history[name] = function (this: History, ...words: Parameters<History['pushState']>) {
        original.apply(this, words)
        soon()
      }
    }
    addEventListener('popstate', soon)
    addEventListener('hashchange', soon)
    addEventListener('pageshow', (event) => event.persisted && ((this.#lastUrl = ''), soon()))
    if (document.readyState === 'loading') addEventListener('DOMContentLoaded', see)
    else see()
  }

  /** An id that is kept, in localStorage where there is one. */
  #kept(name: string): string {
    return this.#keep(name, this.#store?.getItem(`${this.#prefix}.${name}`) ?? this.#memory.get(name) ?? uuid())
  }

  #keep(name: string, value: string): string {
    this.#memory.set(name, value)
    try {
      this.#store?.setItem(`${this.#prefix}.${name}`, value)
    } catch {
      // It is full; the page remembers.
    }
    return value
  }

  #session(): string {
    const [id, at] = (this.#store?.getItem(`${this.#prefix}.session`) ?? this.#memory.get('session') ?? '').split(' ')
    const session = id && Date.now() - Number(at) < SESSION_MS ? id : uuid()
    this.#keep('session', `${session} ${Date.now()}`)
    return session
  }
}
