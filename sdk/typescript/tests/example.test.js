// The server in examples/, asked as a browser asks, against a gate in memory.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

import { Micro } from '../dist/testing.js'

test('the server', async (t) => {
  const micro = await Micro.start()
  t.after(() => micro.stop())
  const folder = await mkdtemp(join(tmpdir(), 'tg-'))
  t.after(() => rm(folder, { recursive: true }))
  // As `npm install` leaves it.
  await cp(new URL('../../../examples/node-server', import.meta.url), folder, { recursive: true })
  await mkdir(join(folder, 'node_modules'))
  await symlink(new URL('..', import.meta.url).pathname, join(folder, 'node_modules/tidegate'))
  const environment = { ...process.env, TIDEGATE_URL: micro.url, TIDEGATE_SPOOL: join(folder, 'events'), PORT: '0' }
  const server = spawn(process.execPath, ['server.js'], { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => server.kill('SIGKILL'))
  const [url] = await once(createInterface({ input: server.stdout }), 'line')

  const first = await fetch(url, { headers: { 'user-agent': 'UA/1', 'accept-language': 'de-DE,de' } })
  const cookie = first.headers.get('set-cookie').split(';')[0]
  assert.match(await first.text(), /^(Hello|How good)/)
  for (const [path, method] of [['/', 'GET'], ['/thanks', 'POST'], ['/nowhere', 'GET']]) await (await fetch(url + path, { method, headers: { cookie } })).text()
  server.kill('SIGTERM')
  assert.deepEqual(await once(server, 'exit'), [0, null])

  assert.deepEqual(await micro.bad(), [])
  const good = await micro.good()
  assert.deepEqual(good.map(({ event_type }) => event_type), ['page_view', 'feature_exposure', 'page_view', 'conversion'])
  assert.deepEqual([...new Set(good.map(({ anonymous_id }) => `visitor=${anonymous_id}`))], [cookie])
  assert.deepEqual([good[0].context.userAgent, good[0].context.locale, good[3].name], ['UA/1', 'de-DE', 'thanked'])
})
