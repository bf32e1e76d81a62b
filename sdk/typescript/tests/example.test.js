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
import { launch } from './chromium.js'

/** An example, running in a copy, with a gate in memory. */
async function start(t, name, program) {
  const micro = await Micro.start()
  t.after(() => micro.stop())
  const folder = await mkdtemp(join(tmpdir(), 'tg-'))
  t.after(() => rm(folder, { recursive: true }))
  // As `npm install` leaves it.
  await cp(new URL(`../../../examples/${name}`, import.meta.url), folder, { recursive: true })
  await mkdir(join(folder, 'node_modules'))
  await symlink(new URL('..', import.meta.url).pathname, join(folder, 'node_modules/tidegate'))
  const environment = { ...process.env, TIDEGATE_URL: micro.url, TIDEGATE_SPOOL: join(folder, 'events'), PORT: '0' }
  const server = spawn(process.execPath, [program], { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => server.kill('SIGKILL'))
  const [url] = await once(createInterface({ input: server.stdout }), 'line')
  return { micro, server, url }
}

test('the page', async (t) => {
  const { micro, url } = await start(t, 'web-page', 'serve.js')
  const browser = await launch()
  t.after(() => browser.close())
  const page = await browser.newPage()
  await page.goto(url)
  await micro.waitFor(2)
  await page.click('button')
  const good = await micro.waitFor(4)
  assert.deepEqual(good.map(({ event_type }) => event_type).sort(), ['conversion', 'feature_exposure', 'page_view', 'page_view'])
  assert.equal(new Set(good.map(({ anonymous_id }) => anonymous_id)).size, 1)
  assert.deepEqual(await micro.bad(), [])
})

test('the server', async (t) => {
  const { micro, server, url } = await start(t, 'node-server', 'server.js')
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
