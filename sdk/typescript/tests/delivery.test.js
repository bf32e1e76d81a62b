// The platform behind a network that fails in every way: each event is in Silver once, or in a counter.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

import { Server } from '../../../tests/clients/node/server.js'
import { Tidegate } from '../dist/node.js'

const DONE = 240_000

/** The proxy; its address, and what it did to each request. */
async function unruly(upstream, seed) {
  const script = new URL('../../testing/unruly.py', import.meta.url).pathname
  const proxy = spawn('python3', [script, '--upstream', upstream, '--seed', String(seed)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const plans = []
  const url = await new Promise((resolve) => createInterface({ input: proxy.stdout }).on('line', (line) => (line.startsWith('http') ? resolve(line) : plans.push(line))))
  return { url, plans, stop: () => proxy.kill() }
}

for (const seed of [11, 12]) {
  test(`every event is in Silver once or counted, seed ${seed}`, { timeout: 2 * DONE }, async (t) => {
    const server = await Server.start()
    t.after(() => server.stop())
    const network = await unruly(server.url, seed)
    t.after(network.stop)
    const spool = await mkdtemp(join(tmpdir(), 'tg-'))
    t.after(() => rm(spool, { recursive: true }))
    const fates = new Map()
    const client = new Tidegate({
      writeKey: server.key,
      url: network.url,
      batchEventsMax: 30,
      queueEventsMax: 700,
      log: () => {},
      ...(seed === 12 ? { spool } : {}),
      onDelivery: ({ eventId, outcome }) => {
        assert.ok(!fates.has(eventId) || eventId === '', 'an event has one fate')
        fates.set(eventId, outcome)
      },
    })
    for (let number = 0; number < 1_500; number++) {
      // Some that the gate refuses by name, and some that no client can send.
      if (number % 50 === 7) client.track('conversion', { number }, { eventTime: 'yesterday' })
      else if (number % 100 === 13) client.track('conversion', { number: Infinity })
      else client.track('conversion', { number }, { userId: `u${number % 10}` })
      if (number % 300 === 0) await sleep(200)
    }
    assert.ok(await client.close(DONE))
    const stats = client.stats()
    assert.equal(stats.pending, 0)
    assert.equal(stats.tracked, 1_500)
    assert.deepEqual(Object.keys(stats.rejectedBy), ['invalid_time'])
    assert.equal(stats.droppedBy.invalid, 15)
    assert.ok(stats.retries > 5 && network.plans.includes('reset_after_commit') && network.plans.includes('half_committed'), 'the network was too good to show anything')
    const delivered = [...fates].filter(([, outcome]) => outcome === 'delivered').map(([eventId]) => eventId)
    assert.equal(delivered.length, stats.delivered)
    const rows = await server.silver(stats.delivered)
    assert.deepEqual([...rows.keys()].sort(), delivered.sort())
  })
}

test('signed requests are taken where the key asks for them', { timeout: DONE }, async (t) => {
  const server = await Server.start()
  t.after(() => server.stop())
  const [key, secret] = (await server.command('source', 'add', 'billing', '--signed')).split('\n')
  const send = async (signingSecret) => {
    const client = new Tidegate({ writeKey: key, url: server.url, log: () => {}, signingSecret })
    // More than is sent unpacked.
    for (let number = 0; number < 100; number++) client.track('conversion', { n: number, text: 'long enough to be worth packing' })
    assert.ok(await client.close(60_000))
    return client.stats()
  }
  assert.equal((await send(secret)).delivered, 100)
  assert.deepEqual((await send(undefined)).rejectedBy, { missing_signature: 100 })
  assert.deepEqual((await send('tgs_of_nobody')).rejectedBy, { invalid_signature: 100 })
  assert.throws(() => new Tidegate({ writeKey: key, url: server.url, signingSecret: '' }), /--signed/)
})
