// The client beside a gate that answers as the test wants.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { Tidegate, VERSION } from '../dist/node.js'
import { Gate, taken, unavailable, until } from './gate.js'

let gate
let warnings
beforeEach(async () => {
  gate = await Gate.start()
  warnings = []
})
afterEach(() => gate.stop())

const SOON = 20_000
const make = (settings = {}) => new Tidegate({ writeKey: 'tg_secret_key', url: gate.url, log: (message) => warnings.push(message), ...settings })
const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0)

function balanced(client) {
  const stats = client.stats()
  assert.equal(stats.tracked, stats.delivered + stats.rejected + stats.dropped + stats.pending)
  assert.equal(stats.dropped, sum(stats.droppedBy))
  assert.equal(stats.rejected, sum(stats.rejectedBy))
  return stats
}

test('an event is sent as it was at the call', async () => {
  const client = make({ url: `${gate.url}/in/`, context: { app: 'shop' } })
  const properties = { tier: 'free', at: new Date(Date.UTC(2026, 10, 1, 12)) }
  const eventId = client.track('signup', properties, { userId: 17, name: 'n', context: { locale: 'de' } })
  properties.tier = 'changed'
  assert.ok(await client.close(SOON))
  const [[event]] = gate.requests
  assert.deepEqual([event.event_id, event.user_id, event.name], [eventId, '17', 'n'])
  assert.deepEqual(event.properties, { tier: 'free', at: '2026-11-01T12:00:00.000Z' })
  assert.deepEqual(event.context, { library: { name: 'tidegate-node', version: VERSION }, app: 'shop', locale: 'de' })
  assert.equal(gate.headers[0].authorization, 'Bearer tg_secret_key')
  assert.equal(gate.headers[0]['x-retry-count'], '0')
  // Behind a path of one's own.
  assert.deepEqual(gate.paths, ['/in/v1/events'])
})

test('an event is part of the trace that its caller records', async () => {
  const parent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  let active = parent
  const client = make({ traceparent: () => active })
  client.track('within', {}, { context: { locale: 'de' } })
  active = undefined
  client.track('without')
  assert.ok(await client.close(SOON))
  const [within, without] = gate.requests.flat()
  assert.deepEqual([within.context.traceparent, within.context.locale, without.context.traceparent], [parent, 'de', undefined])
})

test('nothing that is given makes a call throw', async () => {
  const loop = {}
  loop.self = loop
  const hostile = { toString: () => { throw new Error('no') } }
  const getter = { get x() { throw new Error('no') } }
  const told = []
  const client = make({ onDelivery: (delivery) => told.push(delivery) })
  for (const properties of [{ x: NaN }, { x: [1, Infinity] }, { x: 1n }, loop, [1], 'text', 7, getter, { toJSON: () => 3 }]) assert.equal(client.track('t', properties), undefined)
  for (const [type, options] of [
    ['', {}],
    [undefined, {}],
    ['t', { eventTime: new Date(NaN) }],
    ['t', { eventTime: {} }],
    ['t', { userId: hostile }],
    ['t', { eventId: 'x'.repeat(101) }],
    ['t', { context: 3 }],
  ]) {
    assert.equal(client.track(type, undefined, options), undefined, type)
  }
  assert.equal(client.track('t', { large: 'x'.repeat(300_000) }), undefined)
  assert.deepEqual(balanced(client).droppedBy, { invalid: 16, too_large: 1 })
  await until(() => told.length === 17)
  assert.ok(told.every(({ outcome, message }) => outcome === 'dropped' && message))
  assert.ok(await client.close(SOON))
  assert.deepEqual(gate.requests, [])
})

test('half of a character is replaced', async () => {
  const client = make()
  client.track('t', { cut: 'a\ud83d', whole: '\u{1f30a}', 'key\udc00': 1, text: '\\ud83d' }, { userId: '\udfff' })
  assert.ok(await client.close(SOON))
  const [event] = gate.events
  assert.equal(event.properties.cut, 'a\ufffd')
  assert.equal(event.properties.whole, '\u{1f30a}')
  assert.equal(event.properties.text, '\\ud83d')
  assert.equal(event.user_id, '\ufffd')
})

test('batches are cut by number, bytes and time', async () => {
  gate.hold()
  const client = make({ batchEventsMax: 10, batchBytesMax: 2_000, batchMs: 200 })
  const began = Date.now()
  client.track('first')
  await until(() => gate.requests.length > 0)
  assert.ok(Date.now() - began >= 190)
  for (let number = 0; number < 25; number++) client.track('t', { number })
  client.track('t', { large: 'x'.repeat(1_900) })
  client.track('t', { large: 'x'.repeat(1_900) })
  gate.letGo()
  assert.ok(await client.close(SOON))
  const sizes = gate.requests.map((request) => request.length)
  assert.equal(sum(sizes), 28)
  assert.ok(Math.max(...sizes) <= 10)
  assert.deepEqual(sizes.slice(-2), [1, 1])
})

test('what is answered event by event is counted event by event', async () => {
  gate.answer = (events) => {
    const rejected = events.flatMap(({ event_type }, index) => (event_type === 'bad' ? [{ index, event_id: 'x', code: 'invalid_time', field: '/event_time', message: 'is no time' }] : []))
    return { status: 200, body: JSON.stringify({ success: true, accepted: events.length - rejected.length, rejected }) }
  }
  const told = []
  const client = make({ onDelivery: (delivery) => told.push(delivery) })
  const [good, bad] = [client.track('good'), client.track('bad')]
  assert.ok(await client.close(SOON))
  const stats = balanced(client)
  assert.deepEqual([stats.delivered, stats.rejectedBy], [1, { invalid_time: 1 }])
  assert.deepEqual(told, [
    { eventId: good, outcome: 'delivered' },
    { eventId: bad, outcome: 'rejected', code: 'invalid_time', message: '/event_time is no time' },
  ])
  assert.equal(gate.requests.length, 1)
})

test('the same events are sent again until they are answered', async () => {
  const answers = [unavailable, () => ({ status: 200, body: '<html>' }), taken]
  gate.answer = (events) => answers.shift()(events)
  const client = make()
  const eventId = client.track('t')
  assert.ok(await client.close(SOON))
  assert.equal(balanced(client).retries, 2)
  assert.deepEqual(gate.requests.map((request) => request.map(({ event_id }) => event_id)), [[eventId], [eventId], [eventId]])
  assert.deepEqual(gate.headers.map((headers) => headers['x-retry-count']), ['0', '1', '2'])
  assert.equal(new Set(gate.events.map(({ event_time }) => event_time)).size, 1)
})

test('an attempt can be made before its time', async () => {
  gate.answer = () => ({ status: 429, body: '{"code":"busy"}', headers: { 'retry-after': '60' } })
  const client = make()
  client.track('t')
  assert.equal(await client.flush(200), false)
  gate.answer = taken
  client.retryNow()
  assert.ok(await client.close(5_000))
})

test('too large a request is cut in half', async () => {
  const isHuge = (events) => events.some(({ event_type }) => event_type === 'huge')
  gate.answer = (events) => (events.length > 2 || isHuge(events) ? { status: 413, body: '' } : taken(events))
  const client = make()
  const ids = Array.from({ length: 7 }, () => client.track('t'))
  client.track('huge')
  assert.ok(await client.close(SOON))
  const stats = balanced(client)
  assert.deepEqual([stats.delivered, stats.droppedBy], [7, { too_large: 1 }])
  const answered = gate.requests.filter((request) => request.length <= 2 && !isHuge(request)).flat()
  assert.deepEqual(answered.map(({ event_id }) => event_id).sort(), ids.sort())
})

for (const whenFull of ['drop_newest', 'drop_oldest']) {
  test(`a full queue: ${whenFull}`, async () => {
    gate.hold()
    const told = []
    const client = make({ queueEventsMax: 10, batchEventsMax: 5, whenFull, onDelivery: (delivery) => told.push(delivery) })
    const first = Array.from({ length: 5 }, (_, n) => client.track('sent', { n }))
    await until(() => gate.requests.length > 0)
    const ids = Array.from({ length: 12 }, (_, n) => client.track('t', { n }))
    const stats = balanced(client)
    assert.deepEqual([stats.droppedBy, stats.pending], [{ queue_full: 2 }, 15])
    const kept = whenFull === 'drop_oldest' ? ids.slice(2) : ids.slice(0, 10)
    assert.deepEqual(ids.slice(10).includes(undefined), whenFull === 'drop_newest')
    gate.letGo()
    assert.ok(await client.close(SOON))
    assert.deepEqual(gate.events.map(({ event_id }) => event_id).sort(), [...first, ...kept].sort())
    assert.equal(told.filter(({ code }) => code === 'queue_full').length, 2)
  })
}

test('bytes bound the queue too', async () => {
  gate.hold()
  const client = make({ queueBytesMax: 10_000 })
  for (let number = 0; number < 10; number++) client.track('t', { text: 'x'.repeat(4_000) })
  assert.equal(balanced(client).droppedBy.queue_full, 8)
  gate.letGo()
  assert.ok(await client.close(SOON))
})

test('a queue that is smaller than a batch is sent before it is full', async () => {
  const client = make({ queueEventsMax: 20, batchMs: 60_000 })
  for (let number = 0; number < 200; number++) {
    client.track('t', { number })
    await sleep(5)
  }
  assert.equal(balanced(client).dropped, 0)
  assert.ok(gate.requests.length > 0 && (await client.close(SOON)))
})

test('flush and close keep their deadlines', async () => {
  gate.answer = unavailable
  const client = make()
  client.track('t')
  const began = Date.now()
  assert.equal(await client.flush(300), false)
  assert.ok(Date.now() - began < 2_000)
  assert.equal(await client.close(300), false)
  assert.ok(Date.now() - began < 4_000)
  assert.equal(client.track('late'), undefined)
  const stats = balanced(client)
  assert.deepEqual([stats.droppedBy, stats.pending], [{ closed: 2 }, 0])
})

test('consent', async () => {
  const client = make({ enabled: false })
  assert.equal(client.track('before'), undefined)
  assert.equal(client.enabled, false)
  client.optIn()
  const first = client.track('agreed')
  assert.ok(await client.flush(SOON))
  gate.hold()
  const onItsWay = client.track('on its way')
  await until(() => gate.requests.length === 2)
  client.track('queued')
  client.optOut()
  assert.equal(client.track('after'), undefined)
  gate.letGo()
  assert.ok(await client.close(SOON))
  const stats = balanced(client)
  assert.deepEqual([stats.delivered, stats.droppedBy, stats.suppressed], [2, { opted_out: 1 }, 2])
  assert.deepEqual(gate.events.map(({ event_id }) => event_id), [first, onItsWay])
})

test('a callback or a log that throws is no matter', async () => {
  const throws = () => { throw new Error("the application's fault") }
  const client = make({ onDelivery: throws, log: throws })
  client.track('t')
  client.track('t', { x: NaN })
  assert.ok(await client.close(SOON))
  assert.equal(balanced(client).delivered, 1)
})

test('the key is in no warning', async () => {
  const client = make({ url: 'http://127.0.0.1:1' })
  client.track('t')
  assert.equal(await client.close(500), false)
  assert.ok(warnings.length > 0 && !warnings.join().includes('tg_secret_key'))
})

test('wrong settings say what is wrong', () => {
  for (const [settings, text] of [
    [{ writeKey: '' }, /tidegate source add/],
    [{ url: 'events.example.com' }, /url must be like/],
    [{ whenFull: 'panic' }, /drop_newest/],
    [{ queueEventsMax: 0 }, /queueEventsMax/],
    [{ context: { x: 1n } }, /context/],
  ]) {
    assert.throws(() => make(settings), text)
  }
})

test('a process that has nothing else to do sends what it has, and is not held by it for long', async () => {
  const program = `import { Tidegate } from ${JSON.stringify(new URL('../dist/node.js', import.meta.url))}
    const client = new Tidegate({ writeKey: 'k', url: process.argv[1] })
    client.track('last')`
  const run = (url) => promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program, url], { timeout: 30_000 })
  await run(gate.url)
  assert.deepEqual(gate.events.map(({ event_type }) => event_type), ['last'])
  const began = Date.now()
  await run('http://127.0.0.1:1')
  assert.ok(Date.now() - began < 10_000)
})
