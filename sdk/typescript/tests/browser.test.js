// Pages in a real Chromium, against a gate in memory.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

import { build } from 'esbuild'

import { Micro } from '../dist/testing.js'
import { launch } from './chromium.js'

const PAGE = `<!doctype html><title>Shop</title><script type="module">
  import { TidegateBrowser } from '/dist/browser.js'
  const asked = new URLSearchParams(location.search)
  window.told = []
  window.client = new TidegateBrowser({
    writeKey: 'k', url: asked.get('gate') ?? '/t', batchMs: 100, enabled: !asked.has('off'), log: () => {}, onDelivery: (delivery) => told.push(delivery),
    experiments: [{ id: 'button', variations: ['control', 'friendly'], weights: [0, 1], subject: 'anonymous_id' }],
  })
</script>`

let micro
let site
let browser
let isGateDown = false

/** Pages, the SDK, and below /t the gate, as a site's own proxy has it. */
async function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://site')
  if (pathname.startsWith('/dist/')) return response.setHeader('content-type', 'text/javascript').end(await readFile(new URL(`..${pathname}`, import.meta.url)))
  if (!pathname.startsWith('/t/')) return response.setHeader('content-type', 'text/html').end(PAGE)
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  if (isGateDown) return response.writeHead(502).end()
  const { authorization } = request.headers
  const answer = await fetch(micro.url + pathname.slice(2), { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: Buffer.concat(chunks) })
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
}

before(async () => {
  site = createServer((request, response) => void serve(request, response).catch(() => response.destroy())).listen(0, '127.0.0.1')
  await once(site, 'listening')
  site.url = `http://127.0.0.1:${site.address().port}`
  browser = await launch()
})
after(async () => {
  await browser?.close()
  site.closeAllConnections()
  site.close()
})
beforeEach(async () => {
  isGateDown = false
  micro = await Micro.start()
})
afterEach(() => micro.stop())

/** A visitor of their own, with their own localStorage. */
async function visitor(t) {
  const context = await browser.createBrowserContext()
  t.after(() => context.close())
  const open = async (path) => {
    const page = await context.newPage()
    await page.goto(site.url + path)
    await page.waitForFunction(() => window.client)
    return page
  }
  return { open }
}

const paths = (events) => events.map(({ properties }) => properties.path + new URL(properties.url).hash)
const numbers = (events) => events.map(({ properties }) => properties.number).sort((a, b) => a - b)
const upTo = (count) => Array.from({ length: count }, (_, number) => number)
const track = (page, from, to) => page.evaluate((from, to) => { for (let number = from; number < to; number++) client.track('click', { number }) }, from, to)

test('page views, also where the address changes without a page', async (t) => {
  const { open } = await visitor(t)
  const page = await open('/first?utm_source=news')
  await micro.waitFor(1)
  await page.evaluate(async () => {
    const soon = () => new Promise((resolve) => setTimeout(resolve, 50))
    history.pushState({}, '', '/second')
    document.title = 'Second'
    await soon()
    history.replaceState({ same: true }, '', '/second')
    await soon()
    history.pushState({}, '', '/third')
    await soon()
    location.hash = 'part'
    await soon()
    history.go(-2)
    await soon()
  })
  const seen = await micro.waitFor(5)
  await sleep(300)
  assert.deepEqual(paths(await micro.good()), ['/first', '/second', '/third', '/third#part', '/second'])
  assert.deepEqual(await micro.all(), { total: 5, good: 5, bad: 0, duplicates: 0 })
  assert.equal(seen[1].properties.title, 'Second')
  assert.equal(seen[1].properties.referrer, `${site.url}/first?utm_source=news`)
  assert.equal(new Set(seen.map(({ anonymous_id }) => anonymous_id)).size, 1)
  assert.equal(new Set(seen.map(({ session_id }) => session_id)).size, 1)
  assert.match(seen[0].context.userAgent, /Chrome/)
  assert.equal(seen[0].context.page.url, `${site.url}/first?utm_source=news`)
})

test('what happens as the page is left arrives, once', async (t) => {
  const { open } = await visitor(t)
  const page = await open('/')
  for (let turn = 0; turn < 5; turn++) {
    const leaves = page.waitForNavigation()
    await page.evaluate((turn) => {
      for (let number = turn * 10; number < turn * 10 + 10; number++) client.track('click', { number })
      location.href = `/page-${turn}`
    }, turn)
    await leaves
    await page.waitForFunction(() => window.client)
  }
  await track(page, 50, 60)
  await page.close({ runBeforeUnload: false })
  await (await open('/later')).waitForFunction(() => client.stats().pending === 0)
  await micro.waitFor(60 + 7)
  assert.deepEqual(numbers(await micro.good('click')), upTo(60))
  assert.deepEqual(paths(await micro.good('page_view')).sort(), ['/', '/later', ...upTo(5).map((turn) => `/page-${turn}`)].sort())
  assert.deepEqual(await micro.bad(), [])
})

test('offline and back', async (t) => {
  const { open } = await visitor(t)
  const page = await open('/')
  await micro.waitFor(1)
  const network = await page.createCDPSession()
  await network.send('Network.enable')
  const setOffline = (offline) => network.send('Network.emulateNetworkConditions', { offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 })
  await setOffline(true)
  await track(page, 0, 30)
  await sleep(500)
  assert.equal((await micro.good('click')).length, 0)
  await setOffline(false)
  await micro.waitFor(31)
  await page.waitForFunction(() => client.stats().pending === 0)
  assert.deepEqual(numbers(await micro.good('click')), upTo(30))
  assert.deepEqual(await page.evaluate(() => told.map(({ outcome }) => outcome).filter((outcome) => outcome !== 'delivered')), [])
  assert.equal(await page.evaluate(() => Object.keys(localStorage).filter((key) => /\.q\..*\.\d+$/.test(key)).length), 0)
})

test('a page that is closed while the gate is away leaves its events to the next one', async (t) => {
  const { open } = await visitor(t)
  isGateDown = true
  const page = await open('/')
  await track(page, 0, 25)
  await sleep(300)
  await page.goto('about:blank')
  await page.close()
  assert.equal((await micro.all()).total, 0)
  isGateDown = false
  const next = await open('/next')
  await micro.waitFor(25 + 2)
  assert.deepEqual(numbers(await micro.good('click')), upTo(25))
  assert.equal(await next.evaluate(() => client.stats().recovered), 26)
})

test('a client that is closed leaves its events to another one, though its page lives on', async (t) => {
  const { open } = await visitor(t)
  isGateDown = true
  const page = await open('/')
  await track(page, 0, 5)
  await sleep(300)
  assert.equal(await page.evaluate(() => client.close(200)), false)
  // As long as a tab that lives needs to say so, and as a page that comes back does.
  await sleep(5_500)
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
  isGateDown = false
  await open('/next')
  await micro.waitFor(5 + 2)
  assert.deepEqual(numbers(await micro.good('click')), upTo(5))
})

test('two tabs are one visitor, and share one queue without sending anything twice', async (t) => {
  const { open } = await visitor(t)
  const [one, two] = [await open('/one'), await open('/two')]
  isGateDown = true
  await Promise.all([track(one, 0, 40), track(two, 40, 80)])
  await sleep(300)
  isGateDown = false
  const good = await micro.waitFor(82)
  assert.deepEqual(numbers(await micro.good('click')), upTo(80))
  assert.deepEqual([new Set(good.map(({ anonymous_id }) => anonymous_id)).size, new Set(good.map(({ session_id }) => session_id)).size], [1, 1])
  for (const page of [one, two]) await page.waitForFunction(() => client.stats().pending === 0)
  assert.equal((await micro.all()).duplicates, 0)
})

test('where the host of the gate is blocked, the path of the site works', async (t) => {
  const { open } = await visitor(t)
  const blocked = await open(`/?gate=${encodeURIComponent('http://blocked.example')}`)
  await track(blocked, 0, 3)
  await sleep(500)
  const stats = await blocked.evaluate(() => client.stats())
  assert.deepEqual([stats.pending, stats.delivered, stats.dropped], [4, 0, 0])
  // The gate itself, from another origin.
  const direct = await (await visitor(t)).open(`/?gate=${encodeURIComponent(micro.url)}`)
  await track(direct, 0, 3)
  await micro.waitFor(4)
  await micro.reset()
  const own = await (await visitor(t)).open('/')
  await track(own, 0, 3)
  await micro.waitFor(4)
})

test('consent, and a variation', async (t) => {
  const { open } = await visitor(t)
  const page = await open('/?off')
  await track(page, 0, 5)
  await sleep(300)
  assert.equal((await micro.all()).total, 0)
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((key) => /anonymous|session/.test(key))), [], 'no id before a yes')
  await page.evaluate(() => {
    client.optIn()
    client.setUser('u1')
    for (let turn = 0; turn < 3; turn++) client.variation('button')
  })
  const [exposure] = await micro.waitFor(1)
  await sleep(300)
  assert.deepEqual([(await micro.all()).total, exposure.user_id, exposure.properties], [1, 'u1', { experiment_id: 'button', variation_id: 'friendly' }])
  await page.evaluate(() => client.optOut())
  assert.deepEqual(await page.evaluate(() => Object.keys(localStorage).filter((key) => /anonymous|session/.test(key))), [])
})

test('it is small', async () => {
  const { outputFiles } = await build({ entryPoints: [new URL('../dist/browser.js', import.meta.url).pathname], bundle: true, minify: true, format: 'esm', target: 'es2022', write: false })
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length
  assert.ok(bytes < 8_000, `${bytes} bytes, packed`)
})
