// What one call costs the application, and the memory at 10,000 events a second: this SDK beside @segment/analytics-node, in one run, in turns.
//
//     npm run build && npm install --no-save @segment/analytics-node && node benches/overhead.js
//
// Both send to the same gate in another process, which takes everything. A call is timed alone; what is sent is sent between the calls.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const CALLS = Number(process.env.CALLS ?? 50_000)
const RATE = Number(process.env.RATE ?? 10_000)
const TURNS = Number(process.env.TURNS ?? 3)
const PROPERTIES = { plan: 'pro', price: 12.5, quantity: 2, currency: 'EUR', tags: ['a', 'b'], page: { url: 'https://www.example.com/cart', title: 'Cart' } }

async function tidegate(url) {
  const { Tidegate } = await import('../dist/node.js')
  const client = new Tidegate({ writeKey: 'key', url, queueEventsMax: 200_000, queueBytesMax: 2 ** 30 })
  return [() => client.track('Order Completed', PROPERTIES, { userId: 'u1' }), () => client.close(60_000)]
}

async function segment(url) {
  const { Analytics } = await import('@segment/analytics-node')
  const client = new Analytics({ writeKey: 'key', host: url, flushAt: 100, flushInterval: 1_000 })
  return [() => client.track({ event: 'Order Completed', properties: PROPERTIES, userId: 'u1' }), () => client.closeAndFlush({ timeout: 60_000 })]
}

async function measure(what, url) {
  const [call, end] = await what(url)
  call()
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  const times = new Float64Array(CALLS)
  const began = performance.now()
  for (let number = 0; number < CALLS; number++) {
    const started = performance.now()
    call()
    times[number] = performance.now() - started
    if (number % 100 === 99) {
      const ahead = began + (number / RATE) * 1_000 - performance.now()
      await sleep(Math.max(0, ahead))
    }
  }
  const took = performance.now() - began
  const peak = process.resourceUsage().maxRSS * 1024
  await end()
  times.sort()
  const mean = times.reduce((sum, time) => sum + time, 0) / CALLS
  return { sdk: what.name, mean_us: mean * 1e3, median_us: times[CALLS / 2] * 1e3, p99_us: times[Math.floor(CALLS * 0.99)] * 1e3, rate: (CALLS / took) * 1e3, grown_mib: (peak - before) / 2 ** 20 }
}

const [, , role, url] = process.argv
if (role === 'gate') {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.end('{"success":true,"accepted":1,"rejected":[]}'))
  }).listen(0, '127.0.0.1', () => process.send(server.address().port))
} else if (role) {
  process.send(await measure({ tidegate, segment }[role], url))
  process.exit()
} else {
  const gate = fork(import.meta.filename, ['gate'])
  const [port] = await once(gate, 'message')
  const found = { tidegate: [], segment: [] }
  for (let turn = 0; turn < TURNS; turn++) {
    for (const sdk of ['tidegate', 'segment']) {
      const process = fork(import.meta.filename, [sdk, `http://127.0.0.1:${port}`])
      const [result] = await once(process, 'message')
      found[sdk].push(result)
      console.log(JSON.stringify({ turn, ...Object.fromEntries(Object.entries(result).map(([name, value]) => [name, typeof value === 'number' ? Math.round(value * 100) / 100 : value])) }))
    }
  }
  for (const measure of ['mean_us', 'median_us', 'grown_mib']) {
    const [ours, theirs] = ['tidegate', 'segment'].map((sdk) => found[sdk].map((result) => result[measure]).sort((a, b) => a - b)[Math.floor(TURNS / 2)])
    console.log(`${measure}: ${ours.toFixed(1)} beside ${theirs.toFixed(1)}: ${(theirs / ours).toFixed(1)} times less`)
  }
  gate.kill()
}
