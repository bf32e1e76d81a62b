/** A gate for your own tests, with Vitest, Jest or node:test: `tidegate micro` in a process of its own, asked for what it got. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

import type { JsonObject } from './event.js'

/** An event in the native shape. */
export interface GoodEvent {
  event_id: string
  event_type: string
  event_time?: string
  sent_at?: string
  user_id?: string
  anonymous_id?: string
  session_id?: string
  name?: string
  properties: JsonObject
  context: JsonObject
}

/** What would not be in Silver, and why. */
export interface BadEvent {
  event_id: string
  verdict: 'quarantined' | 'refused'
  violations: { code: string; field: string; message: string }[]
  payload: unknown
}

export interface Counts {
  total: number
  good: number
  bad: number
  /** Copies of good ones. */
  duplicates: number
}

export interface MicroOptions {
  /** The file of a tracking plan. */
  plan?: string
  /** Where `tidegate` is; else what the variable TIDEGATE_BIN names, else it is looked for in PATH. */
  program?: string
}

/**
 * A running gate that keeps what it gets in memory.
 *
 *     const micro = await Micro.start()
 *     const client = new Tidegate({ writeKey: 'any', url: micro.url })
 *     …
 *     expect(await micro.bad()).toEqual([])
 *     await micro.stop()
 */
export class Micro {
  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
  ) {}

  static async start(options: MicroOptions = {}): Promise<Micro> {
    const program = options.program ?? process.env['TIDEGATE_BIN'] ?? 'tidegate'
    const child = spawn(program, ['micro', '--listen', '127.0.0.1:0', ...(options.plan ? ['--plan', options.plan] : [])], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const failed = new Promise<never>((_, reject) => {
      child.once('error', (error) => reject(new Error(`there is no program ${program}; put it in PATH, or name it with TIDEGATE_BIN`, { cause: error })))
      child.once('close', (code) => reject(new Error(`tidegate micro ended with ${code}: ${said.trim()}`)))
    })
    // It is waited for until the address is there; an end that comes later is nobody's error.
    failed.catch(() => {})
    const [url] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed])) as [string]
    return new Micro(url, child)
  }

  /** How many events came. */
  all(): Promise<Counts> {
    return this.ask('all')
  }

  /** The events that would be in Silver, each once, in the order they came. */
  async good(eventType?: string): Promise<GoodEvent[]> {
    const kept = await this.ask<{ event: GoodEvent }[]>('good')
    return kept.map(({ event }) => event).filter((event) => eventType === undefined || event.event_type === eventType)
  }

  bad(): Promise<BadEvent[]> {
    return this.ask('bad')
  }

  /** Forgets all of it. */
  async reset(): Promise<void> {
    await this.ask('reset')
  }

  /** Waits until there are so many good events; rejects with what there is. */
  async waitFor(good: number, timeoutMs = 10_000): Promise<GoodEvent[]> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const counts = await this.all()
      if (counts.good >= good) return this.good()
      if (Date.now() >= deadline) throw new Error(`${good} good events expected, there are ${JSON.stringify(counts)}; bad ones: ${JSON.stringify((await this.bad()).slice(0, 3))}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null) return
    const ended = once(this.process, 'close')
    this.process.kill('SIGTERM')
    await ended
  }

  private async ask<T>(what: string): Promise<T> {
    const answer = await fetch(`${this.url}/micro/${what}`)
    return (await answer.json()) as T
  }
}
