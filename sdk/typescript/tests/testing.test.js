// What users' own tests are given.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

import { Tidegate } from '../dist/node.js'
import { Micro } from '../dist/testing.js'

const PLAN = `
version: "1"
types:
  signup:
    properties:
      tier: {type: string, enum: [free, paid]}
    required: [tier]
`

test('it tells what came', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-micro-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'plan.yaml'), PLAN)
  const micro = await Micro.start({ plan: join(folder, 'plan.yaml') })
  t.after(() => micro.stop())
  const client = new Tidegate({ writeKey: 'any key', url: micro.url, log: () => {} })
  client.track('signup', { tier: 'free' }, { userId: 'u1' })
  client.track('signup', { tier: 'gold' })
  client.track('other', {}, { eventTime: 'yesterday' })
  client.track('again', {}, { eventId: 'e1' })
  client.track('again', {}, { eventId: 'e1' })
  assert.ok(await client.close())
  const good = await micro.waitFor(2)
  assert.deepEqual(good.map(({ event_type, user_id }) => [event_type, user_id]), [['signup', 'u1'], ['again', undefined]])
  assert.deepEqual((await micro.good('signup'))[0].properties, { tier: 'free' })
  assert.deepEqual((await micro.bad()).map(({ verdict, violations }) => [verdict, violations[0].code]), [['quarantined', 'not_in_enum'], ['refused', 'invalid_time']])
  assert.deepEqual(await micro.all(), { total: 5, good: 2, bad: 2, duplicates: 1 })
  await micro.reset()
  assert.deepEqual(await micro.all(), { total: 0, good: 0, bad: 0, duplicates: 0 })
  await assert.rejects(micro.waitFor(1, 50), /1 good events expected/)
})

test('what is wrong is said', async () => {
  await assert.rejects(Micro.start({ plan: '/no/such/plan.yaml' }), /plan.yaml/)
  await assert.rejects(Micro.start({ program: '/no/such/program' }), /TIDEGATE_BIN/)
})
