// The console in a real Chromium, while traffic runs: its numbers are those of the tables, it keeps itself up to date, and everybody can use it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

import { SHOWN, checkForAll, launch, text, visit as open } from './browser.js'
import { Server, freePort } from './server.js'

/** Bytes that a page may load, packed. */
const PACKED_BYTES_MAX = 300_000
const PAGES = ['/', '/events', '/explore', '/plan', '/plan/type?name=page_view', '/dead-letters', '/dead-letters?again=1', '/trace?id=view-1', '/experiments', '/sources', '/jobs']

let server
let browser
let url
let traffic

before(async () => {
  const port = await freePort()
  server = await Server.start({ TIDEGATE_CONSOLE__LISTEN: `127.0.0.1:${port}` })
  url = `http://127.0.0.1:${port}`
  traffic = new Traffic()
  await traffic.sent(60)
  await queryable()
  browser = await launch()
})
after(async () => {
  await browser?.close()
  await traffic?.stop()
  await server?.stop()
})

/** Waits until there are events to look at, of each kind. */
async function queryable() {
  const rows = (table) => server.query(`SELECT count(*) AS n FROM ${table}`).then(([row]) => row.n, () => 0)
  while ((await rows('silver.events')) < 40 || (await rows('dead_letters')) < 10) await sleep(200)
}

/** Events of a site, one in three of them a copy or broken, until it is stopped. */
class Traffic {
  #number = 0
  #isOver = false
  #running = this.#run()

  async #run() {
    while (!this.#isOver) {
      const number = this.#number++
      const view = { event_id: `view-${number}`, event_type: 'page_view', user_id: `user-${number % 7}`, properties: { url: `https://example.com/${number % 5}`, title: '<b>Shop</b>' } }
      const broken = { event_id: `broken-${number}`, event_type: 'page_view', user_id: 'user-1', properties: { url: number } }
      const order = { event_id: `order-${number}`, event_type: 'order placed', user_id: `user-${number % 7}`, properties: { total: number } }
      await this.#send(number % 3 === 0 ? [view, broken, order] : number % 3 === 1 ? [view, view] : [view, order])
      await sleep(50)
    }
  }

  async #send(events) {
    const authorization = `Basic ${Buffer.from(`${server.key}:`).toString('base64')}`
    const answer = await fetch(`${server.url}/v1/events`, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(events) })
    assert.equal(answer.status, 200, await answer.text())
  }

  async sent(count) {
    while (this.#number < count) await sleep(20)
  }

  async stop() {
    this.#isOver = true
    await this.#running
  }
}

const visit = (t, path) => open(t, browser, url + path)
const number = async (page, selector) => Number((await text(page, selector)).replaceAll(',', ''))

for (const path of PAGES) {
  test(`everybody can use ${path}`, (t) => checkForAll(t, browser, url, path))
}

test('a page loads little, and all of it from here', async (t) => {
  const page = await browser.newPage()
  t.after(() => page.close())
  const loaded = []
  page.on('response', (response) => loaded.push(response))
  await page.goto(`${url}/explore`)
  let packed = 0
  for (const response of loaded) {
    assert.ok(response.url().startsWith(url) || response.url().startsWith('data:'), response.url())
    if (response.url().startsWith(url)) packed += gzipSync(await response.buffer()).length
  }
  assert.ok(loaded.length >= 3 && packed < PACKED_BYTES_MAX, `${packed} bytes`)
  t.diagnostic(`${packed} bytes, packed`)
})

test('events come as they are sent, and can be looked into', async (t) => {
  const page = await visit(t, '/events')
  const newest = () => page.$eval('#events tr', (row) => row.dataset.mark)
  const first = await newest()
  await page.waitForFunction((first) => document.querySelector('#events tr').dataset.mark !== first, SHOWN, first)
  // Paused, nothing moves; going on, nothing is missing.
  await page.click('#pause')
  const held = await newest()
  await page.waitForFunction(() => /updates wait/.test(document.querySelector('#events-state').textContent), SHOWN)
  assert.equal(await newest(), held)
  await page.click('#pause')
  await page.waitForFunction((held) => document.querySelector('#events tr').dataset.mark !== held, SHOWN, held)
  const marks = await page.$$eval('#events tr', (rows) => rows.map((row) => Number(row.dataset.mark.split('-')[1])))
  marks.forEach((mark, at) => assert.ok(at === 0 || mark === marks[at - 1] - 1, `${marks[at - 1]} is followed by ${mark}`))

  await page.goto(`${url}/events?show=invalid&q=broken`)
  await page.waitForSelector('#events tr', SHOWN)
  assert.ok((await page.$$eval('#events tr', (rows) => rows.map((row) => row.textContent))).every((row) => row.includes('broken-') && row.includes('/properties/url')))
  // The keyboard alone: down to the first event, into it, and back.
  await page.keyboard.press('p')
  await page.keyboard.press('j')
  const id = await page.evaluate(() => document.activeElement.textContent)
  await page.keyboard.press('Enter')
  await page.waitForSelector('#event:not([hidden]) mark', SHOWN)
  assert.ok((await text(page, '#event')).includes(id))
  await page.keyboard.press('Escape')
  assert.equal(await page.evaluate(() => document.activeElement.textContent), id)
  assert.deepEqual(page.problems, [])
})

test('a statement is completed, run and kept', async (t) => {
  const page = await visit(t, '/explore')
  await page.focus('#sql')
  await page.keyboard.type('SELECT event_type, count(*) AS n FROM silver.eve')
  await page.waitForFunction(() => [...document.querySelectorAll('#words li')].some((word) => word.textContent === 'silver.events'), SHOWN)
  await page.keyboard.press('Tab')
  await page.keyboard.type(" WHERE event_id IN ('view-1', 'view-2', 'order-2') GROUP BY 1 ORDER BY 1")
  await Promise.all([page.waitForNavigation(), page.keyboard.down('Control').then(() => page.keyboard.press('Enter'))])
  await page.keyboard.up('Control')
  const rows = await page.$$eval('section tbody tr', (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)))
  const asked = await server.query(await page.$eval('#sql', (area) => area.value))
  assert.deepEqual(rows, asked.map((row) => [row.event_type, String(row.n)]))
  assert.deepEqual(rows, [['order placed', '1'], ['page_view', '2']])
  assert.ok(await page.$('figure svg .bar'), 'it is drawn')
  page.on('dialog', (dialog) => dialog.accept('Three events'))
  await page.click('#save')
  await page.waitForFunction(() => document.querySelector('#saved a')?.textContent === 'Three events', SHOWN)
  await page.goto(`${url}/explore`)
  await Promise.all([page.waitForNavigation(), page.click('#saved a')])
  assert.ok((await text(page, '#sql')).includes("'order-2'"))
  assert.deepEqual(page.problems, [])
})

test('keys lead from page to page', async (t) => {
  const page = await visit(t, '/')
  for (const [key, path] of [['e', '/events'], ['d', '/dead-letters'], ['o', '/']]) {
    await page.keyboard.press('g')
    await Promise.all([page.waitForNavigation(), page.keyboard.press(key)])
    assert.equal(new URL(page.url()).pathname, path)
  }
  await page.keyboard.press('g')
  await Promise.all([page.waitForNavigation(), page.keyboard.press('s')])
  await page.keyboard.press('/')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'sql')
})

test('the numbers are those of the tables, while they change and at rest', async (t) => {
  const page = await visit(t, '/')
  const received = () => number(page, 'tr[data-source=web] [data-count=received]')
  const before = await received()
  await page.waitForFunction((before) => Number(document.querySelector('tr[data-source=web] [data-count=received]').textContent.replaceAll(',', '')) > before + 20, SHOWN, before)

  await traffic.stop()
  const settled = async () => {
    const [row] = await server.query("SELECT sum(CASE WHEN measure = 'accepted' THEN count ELSE 0 END) AS accepted, sum(CASE WHEN measure IN ('silver', 'duplicate', 'dead_letter') THEN count ELSE 0 END) AS decided FROM ledger")
    const [bronze] = await server.query('SELECT count(*) AS n FROM bronze.events')
    return row.accepted === bronze.n && row.decided === bronze.n
  }
  while (!(await settled())) await sleep(200)
  const ledger = Object.fromEntries((await server.query("SELECT measure, sum(count) AS n FROM ledger WHERE source = 'web' GROUP BY measure")).map((row) => [row.measure, row.n]))
  await page.waitForFunction((silver) => document.querySelector('tr[data-source=web] [data-count=silver]').textContent.replaceAll(',', '') === String(silver), SHOWN, ledger.silver)
  for (const [name, measure] of [['accepted', 'accepted'], ['silver', 'silver'], ['duplicates', 'duplicate'], ['dead_letters', 'dead_letter']]) {
    assert.equal(await number(page, `tr[data-source=web] [data-count=${name}]`), ledger[measure], name)
  }
  for (const table of ['bronze.events', 'silver.events', 'dead_letters']) {
    const [rows] = await server.query(`SELECT count(*) AS n FROM ${table}`)
    assert.equal(await number(page, `tr[data-table="${table}"] [data-count=rows]`), rows.n, table)
  }
  assert.ok((await text(page, '#live')).includes('The books balance'))
  await page.goto(`${url}/dead-letters`)
  const [letters] = await server.query('SELECT count(*) AS n FROM dead_letters')
  assert.equal(await number(page, '[data-count=letters]'), letters.n)
  await page.goto(`${url}/plan`)
  const [views] = await server.query("SELECT count(*) AS n FROM silver.events WHERE event_type = 'page_view'")
  assert.equal(await number(page, 'tr[data-type=page_view] [data-count=events]'), views.n)
})
