// The real Node clients deliver through the gate, and each event arrives once with its fields.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'

import RudderAnalytics from '@rudderstack/rudder-sdk-node'
import { Analytics } from '@segment/analytics-node'

import { Server } from './server.js'

const TRACKS = 120
const CALLS = TRACKS + 3
// RudderStack's client adds in `originalTimestamp` when it was called; what its caller says goes before that.
const WHEN = { timestamp: new Date('2026-03-29T12:34:56.789Z') }

/** Makes the same calls with any client of this family. */
function makeCalls(client) {
  client.identify({
    userId: 'user-1',
    traits: { email: 'ada@example.com', plan: 'pro' },
    messageId: 'identify-1',
    ...WHEN,
  })
  client.page({
    userId: 'user-1',
    category: 'Docs',
    name: 'Home',
    properties: { url: 'https://example.com/docs?q=1', path: '/docs', title: 'Docs' },
    messageId: 'page-1',
    ...WHEN,
  })
  for (let number = 0; number < TRACKS; number++) {
    client.track({
      userId: 'user-1',
      anonymousId: 'anonymous-1',
      event: 'Order Completed',
      properties: { price: 12.5, number, name: 'Zoë ✓', tags: ['a', 'b'], nothing: null },
      context: { campaign: { source: 'mail', name: 'spring' } },
      messageId: `track-${number}`,
      ...WHEN,
    })
  }
  client.track({
    anonymousId: 'anonymous-1',
    event: 'Experiment Viewed',
    properties: { experiment_id: 'checkout', variation_id: 'treatment' },
    messageId: 'exposure-1',
    ...WHEN,
  })
}

async function sendWithSegment(url, key) {
  const failures = []
  const client = new Analytics({ writeKey: key, host: url, flushAt: 40 })
  client.on('error', (error) => failures.push(error))
  makeCalls(client)
  await client.closeAndFlush({ timeout: 60_000 })
  assert.deepEqual(failures, [])
}

async function sendWithRudder(url, key, options) {
  const failures = []
  const client = new RudderAnalytics(key, {
    dataPlaneUrl: url,
    flushAt: 40,
    logLevel: 'error',
    errorHandler: (error) => failures.push(error),
    ...options,
  })
  makeCalls(client)
  // A flush sends one batch at most.
  for (let flushes = 0; flushes < CALLS && client.queue.length > 0; flushes++) await client.flush()
  await client.flush()
  assert.deepEqual(failures, [])
}

const CLIENTS = [
  ['@segment/analytics-node', sendWithSegment],
  ['@rudderstack/rudder-sdk-node, gzip', (url, key) => sendWithRudder(url, key, { gzip: true })],
  ['@rudderstack/rudder-sdk-node', (url, key) => sendWithRudder(url, key, { gzip: false })],
]

for (const [name, send] of CLIENTS) {
  test(`${name}: every call arrives once with its fields`, async () => {
    const server = await Server.start()
    try {
      await send(server.url, server.key)
      const rows = await server.silver(CALLS)

      const track = rows.get('track-7')
      assert.equal(track.source, 'web')
      assert.equal(track.event_type, 'Order Completed')
      assert.ok(track.event_time.startsWith('2026-03-29T12:34:56.789'), track.event_time)
      assert.ok(track.client_time.startsWith('2026-03-29T12:34:56.789'), track.client_time)
      assert.deepEqual([track.user_id, track.anonymous_id], ['user-1', 'anonymous-1'])
      assert.deepEqual([track.campaign_source, track.campaign_name], ['mail', 'spring'])
      assert.ok(track.library, 'the client’s library and version are kept')
      const properties = JSON.parse(track.properties)
      assert.deepEqual([properties.price, properties.number, properties.name], [12.5, 7, 'Zoë ✓'])
      assert.deepEqual(properties.tags, ['a', 'b'])

      assert.equal(rows.get('page-1').event_type, 'page_view')
      assert.equal(rows.get('page-1').page_path, '/docs')
      assert.equal(rows.get('identify-1').event_type, 'identify')
      assert.equal(JSON.parse(rows.get('identify-1').properties).plan, 'pro')
      const exposure = rows.get('exposure-1')
      assert.equal(exposure.event_type, 'feature_exposure')
      assert.deepEqual([exposure.experiment_id, exposure.variation_id], ['checkout', 'treatment'])
      assert.deepEqual(await server.query('SELECT count(*) AS n FROM silver.exposures'), [{ n: 1 }])
    } finally {
      await server.stop()
    }
  })
}

/** Passes connections through to the gate, but resets every first connection once the gate has answered: the client cannot know it worked. */
async function answerLosingProxy(port) {
  const state = { connections: 0, answersLost: 0 }
  const proxy = createServer((client) => {
    const lose = state.connections++ % 2 === 0
    const gate = connect(port, '127.0.0.1')
    const end = () => {
      client.destroy()
      gate.destroy()
    }
    for (const socket of [client, gate]) socket.on('error', end).on('close', end)
    client.pipe(gate)
    if (lose) {
      gate.once('data', () => {
        state.answersLost++
        client.resetAndDestroy()
        gate.destroy()
      })
    } else {
      gate.pipe(client)
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return Object.assign(state, { url: `http://127.0.0.1:${proxy.address().port}`, close: () => proxy.close() })
}

test('an answer lost on the way doubles nothing', async () => {
  const server = await Server.start()
  try {
    const proxy = await answerLosingProxy(server.port)
    await sendWithSegment(proxy.url, server.key)
    proxy.close()
    assert.ok(proxy.answersLost >= 1, 'the fault must have happened')
    await server.silver(CALLS)
    const [books] = await server.query('SELECT count(*) AS copies, count(DISTINCT event_id) AS events FROM bronze.events')
    assert.equal(books.events, CALLS)
    assert.ok(books.copies > CALLS, 'the client sent again what had been taken')
  } finally {
    await server.stop()
  }
})
