// A real `tidegate serve` for tests: started on a free port with its own data folder, asked through `tidegate query`.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const READY_MS_MAX = 60_000
const QUERYABLE_MS_MAX = 60_000
const STOP_MS_MAX = 120_000
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024

/** The platform, all roles, on loopback. */
export class Server {
  #process
  #log

  /** `settings`: variables beside those that it always has. */
  static async start(settings = {}) {
    const server = new Server()
    server.settings = settings
    server.binary = process.env.TIDEGATE_BIN
    assert.ok(server.binary, 'TIDEGATE_BIN names the product')
    server.data = await mkdtemp(join(tmpdir(), 'tidegate-node-'))
    server.key = 'tg_test_key_of_the_client_tests'
    server.port = await freePort()
    server.url = `http://127.0.0.1:${server.port}`
    await server.command('source', 'add', 'web', '--key', server.key)
    server.#log = await open(join(server.data, 'serve.log'), 'w')
    const output = server.#log.fd
    server.#process = spawn(server.binary, ['serve', '--data', server.data, '--listen', `127.0.0.1:${server.port}`], {
      ...server.#surroundings(),
      stdio: ['ignore', output, output],
    })
    await server.#untilReady()
    return server
  }

  // Away from any configuration of whoever runs the tests.
  #surroundings() {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEGATE_')))
    return { cwd: this.data, env: { ...env, ...this.settings } }
  }

  async #untilReady() {
    const deadline = Date.now() + READY_MS_MAX
    while (Date.now() < deadline) {
      if (this.#process.exitCode !== null) break
      const answer = await fetch(`${this.url}/readyz`).catch(() => undefined)
      if (answer?.status === 200) return
      await sleep(50)
    }
    this.#process.kill('SIGKILL')
    throw new Error(`not ready: ${await this.log()}`)
  }

  log() {
    return readFile(join(this.data, 'serve.log'), 'utf8')
  }

  /** Runs a subcommand on this server's data and returns what it printed; throws where the command fails. */
  async command(...words) {
    const options = { ...this.#surroundings(), maxBuffer: OUTPUT_BYTES_MAX, timeout: STOP_MS_MAX }
    const { stdout } = await promisify(execFile)(this.binary, [...words, '--data', this.data], options)
    return stdout
  }

  async query(sql) {
    return JSON.parse(await this.command('query', sql, '--format', 'json'))
  }

  /** Silver's rows by event id, once there are `expected` of them. */
  async silver(expected) {
    await this.untilRows('silver.events', expected)
    const rows = await this.query('SELECT * FROM silver.events')
    return new Map(rows.map((row) => [row.event_id, row]))
  }

  /** Waits until a table has `expected` rows. */
  async untilRows(table, expected) {
    const deadline = Date.now() + QUERYABLE_MS_MAX
    let found
    while (Date.now() < deadline) {
      // The table may appear with the first event only.
      found = await this.query(`SELECT count(*) AS n FROM ${table}`).then(
        ([row]) => row.n,
        (error) => error.message,
      )
      if (found === expected) return
      await sleep(200)
    }
    throw new Error(`${expected} rows expected in ${table}, found ${found}`)
  }

  /** Stops as an operator would, and asserts that the books balance. */
  async stop() {
    const ended = once(this.#process, 'exit', { signal: AbortSignal.timeout(STOP_MS_MAX) })
    this.#process.kill('SIGTERM')
    const [code] = await ended.catch((error) => {
      this.#process.kill('SIGKILL')
      throw error
    })
    await this.#log.close()
    assert.equal(code, 0, await this.log())
    await this.command('audit')
    await rm(this.data, { recursive: true })
  }
}

export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}
