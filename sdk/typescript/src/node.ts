/** For Node. */

import { randomFillSync } from 'node:crypto'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

import { Client } from './client.js'
import { DiskSpool } from './spool.js'
import type { Answer, Settings } from './types.js'

export { VERSION } from './client.js'
export type { Delivery, DropReason, Settings, Stats } from './types.js'
export type { Experiment } from './experiments.js'
export type { CallOptions, Json, JsonObject } from './event.js'

const COMPRESS_FROM_BYTES = 1024
const SPOOL_BYTES_MAX = 256 * 1024 * 1024
/** What an orderly end of the process gives each client to send what it has, in milliseconds. */
const EXIT_MS = 2_000
const compress = promisify(gzip)

async function post(url: string, headers: Record<string, string>, body: string, timeoutMs: number): Promise<Answer> {
  const isLarge = Buffer.byteLength(body) > COMPRESS_FROM_BYTES
  const answer = await fetch(url, {
    method: 'POST',
    headers: isLarge ? { ...headers, 'Content-Encoding': 'gzip' } : headers,
    // The fastest level has most of what there is to gain: events are alike.
    body: isLarge ? new Uint8Array(await compress(body, { level: 1 })) : body,
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  return { status: answer.status, body: await answer.text(), retryAfter: answer.headers.get('retry-after') }
}

/** Times are milliseconds. */
export interface NodeSettings extends Settings {
  /** A folder in which events are before they are sent. Several processes may have the same. */
  spool?: string
  spoolBytesMax?: number
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
    const { spool, spoolBytesMax = SPOOL_BYTES_MAX, ...rest } = settings
    if (!(spoolBytesMax >= 1)) throw new RangeError('spoolBytesMax must be at least 1')
    super(rest, {
      spool: spool === undefined ? undefined : new DiskSpool(spool, spoolBytesMax),
      library: 'tidegate-node',
      post,
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
