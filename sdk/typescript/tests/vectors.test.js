// The vectors that all SDKs share.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { meaning, pause } from '../dist/answers.js'
import { eventIdOf, eventText, objectText, timeText, Unsendable, withSentAt } from '../dist/event.js'
import { Plan } from '../dist/plan.js'

const folder = process.env.TIDEGATE_SDK_VECTORS ?? new URL('../../vectors', import.meta.url).pathname
const LIBRARY = { name: 'tidegate-test', version: '1.2.3' }
const NOW = 1_795_428_000_123
const RANDOM = Buffer.from('0cc398c4dc0c0c07398f', 'hex')

function cases(name) {
  const found = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'))
  assert.ok(found.length > 0)
  return found
}

test('ids', () => {
  for (const { millis, random, event_id } of cases('ids.json')) assert.equal(eventIdOf(millis, Buffer.from(random, 'hex')), event_id)
})

test('times', () => {
  // Microseconds are what others have.
  for (const { micros, text } of cases('times.json')) assert.equal(timeText(Math.floor(micros / 1000)), text)
})

for (const { what, call, repeat, event, dropped } of cases('events.json')) {
  test(`event: ${what}`, () => {
    const { event_type, properties, user_id, anonymous_id, session_id, name, event_time, event_id, context, ...unknown } = call
    assert.deepEqual(unknown, {})
    const long = repeat && Object.fromEntries(Object.entries(repeat.properties).map(([field, length]) => [field, 'x'.repeat(length)]))
    const options = { userId: user_id, anonymousId: anonymous_id, sessionId: session_id, name, eventTime: event_time, eventId: event_id }
    const make = () => {
      if (context !== undefined) objectText('context', context)
      return eventText(event_type, properties ?? long, options, objectText('context', { library: LIBRARY, ...context }), NOW, RANDOM, Buffer.byteLength)
    }
    if (dropped) {
      assert.throws(make, (error) => error instanceof Unsendable && error.code === dropped)
      return
    }
    const [id, text] = make()
    const { sent_at, ...made } = JSON.parse(withSentAt(text, '2026-11-23T10:00:01.000Z'))
    assert.equal(sent_at, '2026-11-23T10:00:01.000Z')
    assert.equal(made.event_id, id)
    if (!event_id) made.event_id = event.event_id
    assert.deepEqual(made, event)
    assert.deepEqual(Object.keys(made), Object.keys(event), 'the order of the fields')
  })
}

for (const { plan, cases: all } of cases('verdicts.json')) {
  for (const { what, event, violations } of all) {
    test(`verdict: ${what}`, () => {
      const found = new Plan(plan).check(event.event_type, Boolean(event.user_id || event.anonymous_id), event.properties ?? {})
      const sorted = (pairs) => [...new Set(pairs.map(([code, field]) => `${code} ${field}`))].sort()
      assert.deepEqual(sorted(found.map(({ code, field }) => [code, field])), sorted(violations))
      assert.ok(found.every(({ message }) => message))
    })
  }
}

for (const { what, sent, status, body, fate } of cases('answers.json')) {
  test(`answer: ${what}`, () => {
    const told = meaning(sent, status, typeof body === 'string' ? body : JSON.stringify(body))
    if (fate === 'split' || fate[0].dropped) {
      // One event: there is nothing to be cut in half, and the client drops it.
      assert.ok(told.split && (fate === 'split' || sent === 1))
      return
    }
    assert.deepEqual(
      told.fates.map((one) => (typeof one === 'string' ? one : { rejected: one.code })),
      fate,
    )
  })
}

test('backoff', () => {
  for (const { attempt, retry_after, random, seconds } of cases('backoff.json')) assert.equal(pause(attempt, retry_after ?? undefined, random), seconds)
})

test('Retry-After is heeded with 429 and 503 only', () => {
  const heeded = (status, text) => meaning(1, status, '', text).retryAfter
  assert.equal(heeded(429, '7'), 7)
  assert.equal(heeded(503, ' 7 '), 7)
  for (const [status, text] of [[500, '7'], [429, null], [429, 'soon'], [429, 'Wed, 21 Oct 2026 07:28:00 GMT'], [429, '-1'], [429, '²']]) assert.equal(heeded(status, text), undefined)
})
