// Code made of a tracking plan: what breaks the plan does not compile, and what compiles is taken by the gate.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

import { Tidegate } from '../dist/node.js'
import { Plan } from '../dist/plan.js'
import { Micro } from '../dist/testing.js'

const PLAN = new URL('../../vectors/plan.yaml', import.meta.url).pathname
const TSC = new URL('../node_modules/.bin/tsc', import.meta.url).pathname
let folder

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tg-'))
  await promisify(execFile)(process.env.TIDEGATE_BIN, ['plan', 'codegen', PLAN, '--lang', 'typescript', '--out', join(folder, 'events.ts')])
  await mkdir(join(folder, 'node_modules'))
  await symlink(new URL('..', import.meta.url).pathname, join(folder, 'node_modules/tidegate'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
})
after(() => rm(folder, { recursive: true }))

async function compile(program) {
  await writeFile(join(folder, 'program.ts'), program)
  const options = ['--strict', '--exactOptionalPropertyTypes', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', '--outDir', join(folder, 'out'), join(folder, 'program.ts')]
  return promisify(execFile)(TSC, options, { cwd: folder }).then(() => '', ({ stdout, message }) => stdout || message)
}

test('what compiles is taken', async (t) => {
  const program = `import { Events, type Tracks } from './events.js'
    export function run(client: Tracks): void {
      const events = new Events(client)
      events.orderCompleted({ total: 12.5, currency: 'EUR', items: [{ sku: 'a', count: 2 }], tier: 'paid', 'gift-wrap': null, anything: { x: 1 } }, { userId: 'u1' })
      events.ping()
    }`
  assert.equal(await compile(program), '')
  const micro = await Micro.start({ plan: PLAN })
  t.after(() => micro.stop())
  const { run } = await import(pathToFileURL(join(folder, 'out/program.js')))
  const { PLAN: rules } = await import(pathToFileURL(join(folder, 'out/events.js')))
  const client = new Tidegate({ writeKey: 'k', url: micro.url, plan: new Plan(rules) })
  run(client)
  assert.ok(await client.close())
  assert.deepEqual(await micro.bad(), [])
  assert.deepEqual((await micro.good()).map(({ event_type, user_id }) => [event_type, user_id]), [['Order Completed', 'u1'], ['ping', undefined]])
})

for (const [call, told] of [
  ["events.orderCompleted({ totl: 1, currency: 'EUR' })", /totl/],
  ["events.orderCompleted({ currency: 'EUR' })", /total/],
  ["events.orderCompleted({ total: 'much', currency: 'EUR' })", /number/],
  ["events.orderCompleted({ total: 1, currency: 'EUR', tier: 'gold' })", /gold/],
  ["events.orderCompleted({ total: 1, currency: 'EUR', items: [{ count: 1 }] })", /sku/],
  ['events.orderCompleted()', /1|argument/],
  ["events.orderComplete({ total: 1, currency: 'EUR' })", /orderComplete/],
  ["events.ping({}, { usrId: 'u1' })", /usrId/],
]) {
  test(`what breaks the plan does not compile: ${call}`, async () => {
    const found = await compile(`import { Events, type Tracks } from './events.js'\ndeclare const client: Tracks\nconst events = new Events(client)\n${call}\n`)
    assert.match(found, /program\.ts[(:]4/)
    assert.match(found, told)
  })
}
