// Experiments as flags of OpenFeature.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { OpenFeature } from '@openfeature/server-sdk'

import { Tidegate } from '../dist/node.js'
import { TidegateProvider } from '../dist/openfeature.js'
import { Gate } from './gate.js'

const experiments = [
  { id: 'checkout', variations: ['control', 'treatment'], weights: [0, 1] },
  { id: 'quiet', variations: ['control', 'treatment'], coverage: 0 },
  { id: 'banner', variations: ['off', 'on'], weights: [1, 0], subject: 'anonymous_id' },
]

test('flags are variations', async (t) => {
  const gate = await Gate.start()
  t.after(() => gate.stop())
  const client = new Tidegate({ writeKey: 'k', url: gate.url, experiments })
  await OpenFeature.setProviderAndWait(new TidegateProvider(client))
  t.after(() => OpenFeature.close())
  const flags = OpenFeature.getClient()
  flags.setLogger({ error() {}, warn() {}, info() {}, debug() {} })
  const user = { targetingKey: 'u1', session_id: 's1' }
  const { value, variant, reason } = await flags.getStringDetails('checkout', 'control', user)
  assert.deepEqual([value, variant, reason], ['treatment', 'treatment', 'SPLIT'])
  assert.equal(await flags.getBooleanValue('checkout', false, user), true)
  assert.equal(await flags.getBooleanValue('banner', true, { anonymous_id: 'a1' }), false)
  const outside = await flags.getStringDetails('quiet', 'default', user)
  assert.deepEqual([outside.value, outside.reason], ['default', 'DEFAULT'])
  for (const [details, code] of [
    [await flags.getStringDetails('unknown', 'default', user), 'FLAG_NOT_FOUND'],
    [await flags.getStringDetails('checkout', 'default'), 'TARGETING_KEY_MISSING'],
    [await flags.getNumberDetails('checkout', 7, user), 'TYPE_MISMATCH'],
    [await flags.getObjectDetails('unknown', { x: 1 }, user), 'FLAG_NOT_FOUND'],
  ]) {
    assert.equal(details.errorCode, code)
  }
  flags.track('purchase', user, { value: 12.5, currency: 'EUR' })
  assert.ok(await client.close())
  assert.deepEqual(
    gate.events.map(({ event_type, properties, user_id, anonymous_id, session_id }) => [event_type, properties.experiment_id, user_id, anonymous_id, session_id]),
    [
      ['feature_exposure', 'checkout', 'u1', undefined, 's1'],
      ['feature_exposure', 'banner', undefined, 'a1', undefined],
      ['conversion', undefined, 'u1', undefined, 's1'],
    ],
  )
  assert.deepEqual(gate.events.at(-1).properties, { value: 12.5, currency: 'EUR' })
})
