// Events on disk.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Tidegate } from '../dist/node.js'
import { Gate, taken, unavailable, until } from './gate.js'

const SOON = 20_000
const SDK = JSON.stringify(new URL('../dist/node.js', import.meta.url))
let gate
let folder
beforeEach(async () => {
  gate = await Gate.start()
  folder = await mkdtemp(join(tmpdir(), 'tg-'))
})
afterEach(async () => {
  await gate.stop()
  await rm(folder, { recursive: true })
})

const make = (settings = {}) => new Tidegate({ writeKey: 'k', url: gate.url, spool: folder, log: () => {}, ...settings })

function balanced(client) {
  const stats = client.stats()
  assert.equal(stats.tracked, stats.delivered + stats.rejected + stats.dropped + stats.pending)
  return stats
}

async function files() {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.name.endsWith('.ndjson')).map((entry) => join(entry.parentPath, entry.name))
}

/** An application that is killed when its events are on disk. */
async function killedAfterSync(events) {
  const program = `import { Tidegate } from ${SDK}
    const client = new Tidegate({ writeKey: 'k', url: process.argv[1], spool: process.argv[2], log: () => {} })
    for (let number = 0; number < Number(process.argv[3]); number++) client.track('t', { number })
    if (!(await client.sync(10_000))) process.exit(1)
    client.track('not synced')
    console.log(client.stats().tracked)
    setInterval(() => {}, 1_000)`
  const application = spawn(process.execPath, ['--input-type=module', '--eval', program, gate.url, folder, String(events)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(createInterface({ input: application.stdout }), 'line')
  assert.equal(line, String(events + 1))
  application.kill('SIGKILL')
  const [, signal] = await once(application, 'exit')
  assert.equal(signal, 'SIGKILL', 'it had ended before it was killed')
  await gate.settle()
}

test('what was synced arrives after a kill and is gone from the disk', async () => {
  gate.answer = unavailable
  await killedAfterSync(1_234)
  const left = await files()
  for (const path of left) {
    // Readable by people, and by `tidegate send`.
    for (const line of (await readFile(path, 'utf8')).trim().split('\n')) assert.ok(JSON.parse(line).event_type)
    assert.equal((await stat(path)).mode & 0o077, 0)
  }
  gate.answer = taken
  gate.requests.length = 0
  const told = []
  const client = make({ onDelivery: (delivery) => told.push(delivery) })
  await until(() => client.stats().recovered >= 1_234, 'all recovered')
  assert.equal(balanced(client).tracked, 0)
  await client.close(SOON)
  const numbers = gate.events.filter(({ event_type }) => event_type === 't').map(({ properties }) => properties.number)
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 1_234 }, (_, number) => number))
  assert.equal(new Set(gate.events.map(({ event_id }) => event_id)).size, gate.events.length)
  assert.equal(told.filter(({ outcome }) => outcome === 'delivered').length, gate.events.length)
  assert.deepEqual(await readdir(folder), [])
})

test('an orderly end leaves what is not answered to the next start', async () => {
  gate.answer = unavailable
  const first = make()
  const ids = Array.from({ length: 700 }, (_, n) => first.track('t', { n }))
  assert.ok(await first.sync(SOON))
  assert.equal(await first.close(500), false)
  const stats = balanced(first)
  assert.deepEqual([stats.pending, stats.dropped], [700, 0])
  gate.answer = taken
  gate.requests.length = 0
  const second = make()
  await until(() => second.stats().recovered === 700)
  await second.close(SOON)
  assert.deepEqual(gate.events.map(({ event_id }) => event_id).sort(), ids.sort())
})

test('what is written is sent without a flush, at any rate', async () => {
  const client = make({ batchMs: 200 })
  for (let number = 0; number < 30; number++) {
    client.track('t', { number })
    await sleep(30)
  }
  await until(() => client.stats().delivered === 30, 'all are delivered')
  assert.ok(gate.requests.length > 2)
  assert.ok(await client.close(SOON))
})

test('the half of a line is left out and counted', async () => {
  gate.answer = unavailable
  await killedAfterSync(3)
  const last = (await files()).at(-1)
  await appendFile(last, '{"event_id":"half","event_ty')
  gate.answer = taken
  gate.requests.length = 0
  const client = make()
  await until(() => client.stats().recovered >= 3)
  assert.equal(client.stats().torn, 1)
  await client.close(SOON)
  assert.ok(!gate.events.some(({ event_id }) => event_id === 'half'))
  assert.deepEqual(await readdir(folder), [])
})

test('several clients have one spool', async () => {
  gate.answer = unavailable
  const [one, two] = [make(), make()]
  const ids = [one, two].flatMap((client) => Array.from({ length: 10 }, () => client.track('t')))
  assert.ok((await one.sync(SOON)) && (await two.sync(SOON)))
  // The one that ends leaves its events; the other one goes on, and its folder is not touched.
  assert.equal(await one.close(200), false)
  gate.answer = taken
  gate.requests.length = 0
  const three = make()
  await until(() => three.stats().recovered === 10)
  await three.close(SOON)
  assert.ok(await two.close(SOON))
  assert.equal(balanced(two).delivered, 10)
  assert.deepEqual([...new Set(gate.events.map(({ event_id }) => event_id))].sort(), ids.sort())
})

test('a full spool is sent around', async () => {
  gate.hold()
  const client = make({ spoolBytesMax: 5_000, queueEventsMax: 50 })
  for (let number = 0; number < 200; number++) {
    client.track('t', { number })
    await sleep(1)
  }
  await until(() => client.stats().spoolErrors > 0)
  gate.letGo()
  assert.ok(await client.close(SOON))
  const stats = balanced(client)
  assert.equal(stats.delivered + stats.dropped, 200)
  assert.deepEqual(Object.keys(stats.droppedBy).filter((reason) => reason !== 'queue_full'), [])
  assert.equal(new Set(gate.events.map(({ event_id }) => event_id)).size, stats.delivered)
})

test('a full disk does not hurt the application', { skip: process.platform === 'win32' }, async () => {
  const program = `import { Tidegate } from ${SDK}
    const client = new Tidegate({ writeKey: 'k', url: process.argv[1], spool: process.argv[2], queueEventsMax: 100, log: () => {} })
    for (let number = 0; number < 1_000; number++) {
      client.track('t', { number })
      if (number % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const closed = await client.close(15_000)
    console.log(JSON.stringify({ closed, ...client.stats() }))`
  // No file may grow beyond 4 KiB, as on a disk that is full.
  const limited = spawn('sh', ['-c', 'ulimit -f 8; exec "$@"', 'sh', process.execPath, '--input-type=module', '--eval', program, gate.url, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(createInterface({ input: limited.stdout }), 'line')
  const told = JSON.parse(line)
  assert.ok(told.closed && told.spoolErrors > 0)
  assert.equal(told.pending, 0)
  assert.equal(told.delivered + told.dropped, 1_000)
  assert.equal(new Set(gate.events.map(({ event_id }) => event_id)).size, told.delivered)
  assert.ok(told.delivered > 0)
})

test('a folder that cannot be made does not hurt either', async () => {
  await writeFile(join(folder, 'file'), 'not a folder')
  gate.hold()
  const client = make({ spool: join(folder, 'file', 'spool') })
  for (let number = 0; number < 10; number++) client.track('t')
  assert.equal(await client.sync(200), false)
  gate.letGo()
  assert.ok(await client.close(SOON))
  assert.equal(balanced(client).delivered, 10)
})

test('consent that is taken back empties the spool', async () => {
  gate.answer = unavailable
  await killedAfterSync(5)
  const client = make({ batchMs: 200 })
  for (let number = 0; number < 3; number++) {
    client.track('t')
    assert.ok(await client.sync(SOON))
  }
  client.optOut()
  gate.answer = taken
  gate.requests.length = 0
  await until(() => balanced(client).pending === 0, 'nothing is pending')
  client.optIn()
  const later = client.track('later')
  assert.ok(await client.flush(SOON))
  await client.close(SOON)
  assert.deepEqual(await files(), [])
  assert.ok(gate.events.some(({ event_id }) => event_id === later))
  // One batch may have been on its way.
  assert.ok(gate.requests.length <= 2)
  const stats = balanced(client)
  assert.equal((stats.droppedBy.opted_out ?? 0) + stats.delivered, 4)
})
