/** For Node. */

import { createHmac, randomFillSync } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

import { Client } from './client.js'
import { DiskSpool } from './spool.js'
import type { Post, Settings } from './types.js'

export { VERSION } from './client.js'
export type { Delivery, DropReason, Settings, Stats } from './types.js'
export type { Experiment } from './experiments.js'
export type { CallOptions, Json, JsonObject } from './event.js'

const COMPRESS_FROM_BYTES = 1024
const SPOOL_BYTES_MAX = 256 * 1024 * 1024
/** What an orderly end of the process gives each client to send what it has, in milliseconds. */
const EXIT_MS = 2_000
const compress = promisify(gzip)

function posting(signingSecret: string | undefined): Post {
  return async (url, given, text, timeoutMs) => {
    const isLarge = Buffer.byteLength(text) > COMPRESS_FROM_BYTES
    // The fastest level has most of what there is to gain: events are alike.
    const body = new Uint8Array(isLarge ? await compress(text, { level: 1 }) : Buffer.from(text))
    const headers: Record<string, string> = isLarge ? { ...given, 'Content-Encoding': 'gzip' } : { ...given }
    if (signingSecret !== undefined) headers['X-Tidegate-Signature'] = signature(signingSecret, body, Math.floor(Date.now() / 1_000))
    const answer = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
    return { status: answer.status, body: await answer.text(), retryAfter: answer.headers.get('retry-after') }
  }
}

/** Of a body as it is sent: HMAC-SHA-256 of the time, a full stop and the body. */
function signature(secret: string, body: Uint8Array, seconds: number): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')}`
}

/** Times are milliseconds. */
export interface NodeSettings extends Settings {
  /** A folder in which events are before they are sent. Several processes may have the same. */
  spool?: string
  spoolBytesMax?: number
  /** For a key that asks for signed requests. */
  signingSecret?: string
}

const clients = new Set<WeakRef<Client>>()

function closeAll(): void {
  for (const reference of clients) void reference.deref()?.close(EXIT_MS)
  clients.clear()
}

/**
 * Sends events to Tidegate from Node. One for each write key and process is enough.
 *
 * When the process has nothing else to do, what is queued is sent before it ends; before a `process.exit()` of one's own, `await client.close()`.
 */
export class Tidegate extends Client {
  constructor(settings: NodeSettings) {
    if (!/^https?:\/\/[^/]/.test(settings.url)) throw new RangeError(`url must be like https://events.example.com, is ${JSON.stringify(settings.url)}`)
    const { spool, spoolBytesMax = SPOOL_BYTES_MAX, signingSecret, ...rest } = settings
    if (signingSecret === '') throw new RangeError('signingSecret is empty; `tidegate source add NAME --signed` makes one')
    if (!(spoolBytesMax >= 1)) throw new RangeError('spoolBytesMax must be at least 1')
    super(rest, {
      spool: spool === undefined ? undefined : new DiskSpool(spool, spoolBytesMax),
      library: 'tidegate-node',
      post: posting(signingSecret),
      byteLength: (text) => Buffer.byteLength(text),
      randomBytes: (bytes) => randomFillSync(bytes),
      unref: (timer) => (timer as NodeJS.Timeout).unref(),
    })
    if (clients.size === 0) process.once('beforeExit', closeAll)
    clients.add(new WeakRef<Client>(this))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
