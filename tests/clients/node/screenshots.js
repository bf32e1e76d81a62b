// The pictures of docs/console.md: the pages of the console while `tidegate demo` runs, as a real Chromium shows them. `cargo xtask screenshots` runs it, with a folder for them.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import { SHOWN, launch } from './browser.js'

const STARTED_MS_MAX = 60_000
/** The history has to be in Gold, and live traffic has to have a line to show. */
const HISTORY_MS_MAX = 600_000
const LIVE_MS = 20_000
const BY_HOUR = "SELECT date_trunc('hour', event_time) AS hour, event_type, count(*) AS events FROM silver.events GROUP BY 1, 2 ORDER BY 1"

/** Pages that follow what comes have something to show by then. */
const LOOK_MS = 3_000

/** Each picture: the page it is of, what has to be there, how high it is, and for how long it is looked at before. */
const PAGES = [
  { name: 'overview', path: '/', wait: 'tr[data-source=demo-web]', height: 820, look: 15_000 },
  { name: 'events', path: '/events', wait: '#events tr', height: 900 },
  { name: 'explore', path: `/explore?${new URLSearchParams({ sql: BY_HOUR })}`, wait: 'figure svg', height: 900 },
  { name: 'plan', path: '/plan', wait: 'tr[data-type=page_view]', height: 760 },
  { name: 'dead-letters', path: '/dead-letters', wait: '[data-count=letters]', height: 900 },
  { name: 'experiment', path: '/experiments/checkout-button', wait: 'main table', height: 1000 },
]

/** `tidegate demo` with live traffic, and where its console is. */
class Demo {
  static async start() {
    const demo = new Demo()
    demo.binary = process.env.TIDEGATE_BIN
    assert.ok(demo.binary, 'TIDEGATE_BIN names the product')
    demo.folder = await mkdtemp(join(tmpdir(), 'tidegate-screenshots-'))
    demo.data = join(demo.folder, 'data')
    // Away from any configuration of whoever runs this.
    demo.env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEGATE_')))
    demo.process = spawn(demo.binary, ['demo', '--data', demo.data], { cwd: demo.folder, env: demo.env, stdio: ['ignore', 'ignore', 'pipe'] })
    demo.console = await demo.address()
    return demo
  }

  /** What it says of its console; the rest of what it says is read and left. */
  async address() {
    const lines = createInterface({ input: this.process.stderr })
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => reject(new Error('the demo does not say where its console is')), STARTED_MS_MAX)
      this.process.once('exit', (code) => reject(new Error(`the demo ended with ${code}`)))
      lines.on('line', (line) => {
        const [, address] = /console is at (http:\/\/[\d.]+:\d+)/.exec(line) ?? []
        if (address === undefined) return
        clearTimeout(deadline)
        resolve(address)
      })
    })
  }

  async command(...words) {
    const { stdout } = await promisify(execFile)(this.binary, [...words, '--data', this.data], { cwd: this.folder, env: this.env })
    return stdout.trim()
  }

  /** Waits until the days of history are through, and live traffic has gone on for a while. */
  async live() {
    const deadline = Date.now() + HISTORY_MS_MAX
    const isLive = () =>
      this.command('query', "SELECT count(*) AS n FROM silver.events WHERE received_at > now() - INTERVAL '5 seconds'", '--format', 'json').then(
        (text) => JSON.parse(text)[0].n > 0,
        () => false,
      )
    while (!(await isLive())) {
      assert.ok(Date.now() < deadline, 'the history does not end')
      await sleep(500)
    }
    await sleep(LIVE_MS)
  }

  async stop() {
    const ended = once(this.process, 'exit')
    this.process.removeAllListeners('exit')
    this.process.kill('SIGKILL')
    await ended.catch(() => undefined)
    await rm(this.folder, { recursive: true, force: true })
  }
}

async function take(page, console, { name, path, wait, height, look = LOOK_MS }, folder) {
  await page.setViewport({ width: 1280, height })
  await page.goto(console + path)
  await page.waitForSelector(wait, SHOWN)
  await sleep(look)
  await page.screenshot({ path: join(folder, `${name}.png`) })
  process.stderr.write(`${name}.png\n`)
}

/** A replay that an admin begins, beside one of the command line that is done. */
async function takeJobs(page, demo, folder) {
  await demo.command('replay', '--into', 'silver_proof')
  const token = await demo.command('token', 'add', 'anna', '--role', 'admin')
  await page.setViewport({ width: 1280, height: 620 })
  await page.goto(`${demo.console}/jobs`)
  await page.waitForSelector('input[name=token]', SHOWN)
  await page.type('input[name=token]', token)
  await Promise.all([page.waitForNavigation(), page.click('form button')])
  await page.click('summary')
  await Promise.all([page.waitForNavigation(), page.click('form[action="/jobs/replay"] button')])
  await page.waitForSelector('tr[data-state=running] progress', SHOWN)
  await page.click('summary')
  await page.screenshot({ path: join(folder, 'jobs.png') })
  process.stderr.write('jobs.png\n')
}

const [folder] = process.argv.slice(2)
assert.ok(folder, 'say which folder the pictures go to')
const demo = await Demo.start()
let browser
try {
  await demo.live()
  browser = await launch()
  const page = await browser.newPage()
  for (const one of PAGES) await take(page, demo.console, one, folder)
  await takeJobs(page, demo, folder)
} finally {
  await browser?.close()
  await demo.stop()
}
