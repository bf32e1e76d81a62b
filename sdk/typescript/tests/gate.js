// A gate in this process that answers as a test wants it to. What the real one makes of events is tested with the real one.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'

export const taken = (events) => ({ status: 200, body: JSON.stringify({ success: true, accepted: events.length, rejected: [] }) })
export const unavailable = () => ({ status: 503, body: '' })

/** Keeps every request. */
export class Gate {
  answer = taken
  requests = []
  headers = []
  paths = []
  #open = Promise.resolve()
  #letGo = () => {}
  #server

  static async start() {
    const gate = new Gate()
    gate.#server = createServer(async (request, response) => {
      const chunks = []
      for await (const chunk of request) chunks.push(chunk)
      const body = Buffer.concat(chunks)
      const events = JSON.parse(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body)
      gate.requests.push(events)
      gate.headers.push(request.headers)
      gate.paths.push(request.url)
      await gate.#open
      const { status, body: content, headers } = gate.answer(events)
      response.writeHead(status, headers).end(content)
    })
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    gate.url = `http://127.0.0.1:${gate.#server.address().port}`
    return gate
  }

  /** Waits until all that was sent by those who are gone has been read: a request of a process that was killed may still be on its way. */
  async settle() {
    // They are accepted in turn: when this one has come to its end, all before it are among those that are counted.
    const probe = connect(this.#server.address().port, '127.0.0.1').end().resume()
    await once(probe, 'close')
    let open
    do open = await new Promise((resolve, reject) => this.#server.getConnections((error, count) => (error ? reject(error) : resolve(count))))
    while (open > 0 && (await sleep(10, true)))
  }

  get events() {
    return this.requests.flat()
  }

  /** Answers nothing until `letGo`. */
  hold() {
    this.#open = new Promise((resolve) => (this.#letGo = resolve))
  }

  letGo() {
    this.#letGo()
  }

  async stop() {
    this.letGo()
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

export async function until(holds, what = 'it holds') {
  const deadline = Date.now() + 20_000
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not ${what}`)
    await sleep(10)
  }
}
