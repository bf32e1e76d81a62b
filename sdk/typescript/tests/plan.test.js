// Events that break the tracking plan, before they are sent.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Tidegate } from '../dist/node.js'
import { Plan, VIOLATIONS_MAX } from '../dist/plan.js'
import { Gate } from './gate.js'

const SOON = 20_000
const PLAN = { version: '1', default_policy: 'reject', types: { signup: { properties: { tier: { enum: ['free', 'paid'] }, at: { type: 'string' } }, required: ['tier'] } } }

async function client(t, settings) {
  const gate = await Gate.start()
  t.after(() => gate.stop())
  return [gate, new Tidegate({ writeKey: 'k', url: gate.url, ...settings })]
}

test('what the gate would refuse is not sent', async (t) => {
  const told = []
  const [gate, tidegate] = await client(t, { plan: new Plan(PLAN), onDelivery: (delivery) => told.push(delivery), log: () => {} })
  const good = tidegate.track('signup', { tier: 'free', at: new Date(0) }, { userId: 'u1' })
  assert.equal(tidegate.track('signup', { tier: 'gold' }), undefined)
  assert.equal(tidegate.track('signup'), undefined)
  assert.ok(tidegate.track('other'))
  assert.equal(told.length, 0, 'never within the call')
  assert.ok(await tidegate.close(SOON))
  const stats = tidegate.stats()
  assert.deepEqual([stats.tracked, stats.delivered, stats.rejectedBy, stats.pending], [4, 2, { not_in_enum: 1, missing_property: 1 }, 0])
  assert.deepEqual([gate.events.length, gate.events[0].event_id], [2, good])
  const refused = told.filter(({ outcome }) => outcome === 'rejected')
  assert.deepEqual(refused.map(({ code }) => code), ['not_in_enum', 'missing_property'])
  assert.ok(refused.every(({ message }) => message.includes('/properties/tier')))
})

for (const policy of ['quarantine', 'flag']) {
  test(`what the gate takes is sent and logged: ${policy}`, async (t) => {
    const log = []
    const [gate, tidegate] = await client(t, { plan: new Plan({ ...PLAN, default_policy: policy }), log: (line) => log.push(line) })
    assert.ok(tidegate.track('signup', { tier: 'gold' }))
    assert.ok(await tidegate.close(SOON))
    assert.equal(gate.events.length, 1)
    assert.match(log.join('\n'), /breaks the tracking plan \(not_in_enum\): \/properties\/tier/)
  })
}

test('what cannot be checked here is left to the gate', () => {
  const plan = new Plan({ types: { t: { properties: { x: { type: 'string', pattern: '(?i)^a' }, y: { type: 'integer' } } } } })
  assert.deepEqual(plan.check('t', true, { x: 'b', y: 'no' }).map(({ field }) => field), ['/properties/y'])
})

test('no more is told than can be read, and names of the language are names', () => {
  const plan = new Plan({ types: { t: { additional_properties: false } } })
  assert.equal(plan.check('t', true, Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`p${n}`, 1]))).length, VIOLATIONS_MAX)
  assert.ok(plan.check('t', true, { ['x'.repeat(1_000)]: 1 })[0].field.length < 200)
  assert.deepEqual(plan.check('constructor', true, {}), [])
  assert.deepEqual(plan.check('t', true, { toString: 1 }).map(({ code }) => code), ['unknown_property'])
  assert.throws(() => new Plan(null), TypeError)
})
