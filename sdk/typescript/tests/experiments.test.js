// Assignment, and exposures.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { checkedExperiment, Exposures, hashed, variationOf } from '../dist/experiments.js'
import { Tidegate } from '../dist/node.js'
import { Gate } from './gate.js'

const cases = (name) => JSON.parse(readFileSync(new URL(`../../vectors/${name}`, import.meta.url), 'utf8'))
const CHECKOUT = { id: 'checkout', variations: ['control', 'treatment'] }

test('hashing', () => {
  for (const { seed, value, version, hash } of cases('hashing.json')) assert.equal(hashed(seed, value, version), hash, `${seed} ${value}`)
})

for (const { what, experiment, variations } of cases('assignment.json')) {
  test(`assignment: ${what}`, () => {
    for (const [subject, variation] of Object.entries(variations)) assert.equal(variationOf(checkedExperiment(experiment), subject), variation ?? undefined, subject)
  })
}

test('wrong experiments say what is wrong', () => {
  for (const [change, text] of [
    [{ variations: ['one'] }, /two different/],
    [{ variations: 'ab' }, /two different/],
    [{ variations: ['a', 'a'] }, /two different/],
    [{ weights: [0.5, 0.6] }, /1 together/],
    [{ weights: [1.5, -0.5] }, /1 together/],
    [{ weights: [1] }, /2 shares/],
    [{ coverage: 1.5 }, /coverage/],
    [{ hash_version: 3 }, /hash_version/],
    [{ subject: 'device' }, /subject/],
    [{ wieghts: [1] }, /no field wieghts/],
    [{ id: '' }, /no id/],
  ]) {
    assert.throws(() => new Tidegate({ writeKey: 'k', url: 'http://127.0.0.1:1', experiments: [{ ...CHECKOUT, ...change }] }), text)
  }
})

test('an exposure is logged once a session', async (t) => {
  const gate = await Gate.start()
  t.after(() => gate.stop())
  const banner = { id: 'banner', variations: ['off', 'on'], weights: [0, 1], subject: 'anonymous_id' }
  const client = new Tidegate({ writeKey: 'k', url: gate.url, log: () => {}, experiments: [CHECKOUT, banner, { ...CHECKOUT, id: 'nobody', coverage: 0 }] })
  const expected = variationOf(CHECKOUT, 'user-1')
  for (const sessionId of ['s1', 's1', 's2', 's1']) assert.equal(client.variation('checkout', { userId: 'user-1', sessionId }), expected)
  for (let turn = 0; turn < 2; turn++) assert.ok(client.variation('checkout', { userId: 'user-2', anonymousId: 'a1' }))
  assert.equal(client.variation('banner', { userId: 'user-2', anonymousId: 'a1' }), 'on')
  assert.equal(client.variation('banner', { userId: 'user-1' }, 'off'), 'off', 'without the id that is assigned')
  assert.equal(client.variation('nobody', { userId: 'user-1' }), undefined)
  assert.equal(client.variation('unknown', { userId: 'user-1' }, 'fallback'), 'fallback')
  assert.equal(client.variation('checkout', undefined, 'fallback'), 'fallback')
  assert.ok(await client.flush())
  client.optOut()
  assert.ok(client.variation('checkout', { userId: 'user-3' }))
  client.optIn()
  assert.ok(client.variation('checkout', { userId: 'user-3' }))
  assert.ok(await client.close())
  assert.equal(gate.events[0].properties.variation_id, expected)
  assert.deepEqual(
    gate.events.map(({ event_type, properties, user_id, anonymous_id, session_id }) => [event_type, properties.experiment_id, user_id, anonymous_id, session_id]),
    [
      ['feature_exposure', 'checkout', 'user-1', undefined, 's1'],
      ['feature_exposure', 'checkout', 'user-1', undefined, 's2'],
      ['feature_exposure', 'checkout', 'user-2', 'a1', undefined],
      ['feature_exposure', 'banner', 'user-2', 'a1', undefined],
      ['feature_exposure', 'checkout', 'user-3', undefined, undefined],
    ],
  )
})

test('what was logged is remembered for a session and within a bound', () => {
  const exposures = new Exposures()
  const minutes = (number) => number * 60_000
  const check = (expect, variation, subject, session, now) => assert.equal(exposures.isFirst('e', variation, subject, session, now), expect, `${variation} ${subject} ${session} ${now}`)
  check(true, 'a', 'u', undefined, 0)
  check(false, 'a', 'u', undefined, minutes(29))
  // Each look prolongs the session.
  check(false, 'a', 'u', undefined, minutes(58))
  check(true, 'a', 'u', undefined, minutes(90))
  check(true, 'b', 'u', undefined, minutes(90))
  check(true, 'a', 'u', 's', 0)
  check(false, 'a', 'u', 's', minutes(300))
  for (let number = 0; number < 10_000; number++) check(true, 'a', `n${number}`, undefined, 0)
  check(true, 'a', 'u', 's', 0)
})
