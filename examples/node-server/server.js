// A server that tells Tidegate what is asked of it, in plain Node.
//
//     npm install && TIDEGATE_KEY=… node server.js

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'

import { Tidegate } from 'tidegate'

const events = new Tidegate({
  writeKey: process.env.TIDEGATE_KEY ?? 'no key',
  url: process.env.TIDEGATE_URL ?? 'http://127.0.0.1:8099',
  // What is on disk survives a crash of the server.
  ...(process.env.TIDEGATE_SPOOL ? { spool: process.env.TIDEGATE_SPOOL } : {}),
  experiments: [{ id: 'greeting', variations: ['control', 'warm'], subject: 'anonymous_id' }],
})
const GREETINGS = { control: 'Hello.', warm: 'How good to see you!' }

const server = createServer((request, response) => {
  const url = new URL(request.url, `http://${request.headers.host ?? 'localhost'}`)
  const visitor = /(?:^|; )visitor=([\w-]{1,64})/.exec(request.headers.cookie ?? '')?.[1] ?? randomUUID()
  const who = {
    anonymousId: visitor,
    context: { ip: request.socket.remoteAddress, userAgent: request.headers['user-agent'], locale: request.headers['accept-language']?.split(',')[0] },
  }
  response.setHeader('Set-Cookie', `visitor=${visitor}; Max-Age=31536000; HttpOnly; SameSite=Lax`)
  if (request.method === 'GET' && url.pathname === '/') {
    events.pageView({ url: url.href, title: 'Greeting' }, who)
    // Assigned here, without a request; that it was seen is sent by itself.
    response.end(`${GREETINGS[events.variation('greeting', who, 'control')]}\n`)
  } else if (request.method === 'POST' && url.pathname === '/thanks') {
    events.conversion('thanked', {}, who)
    response.end('You are welcome.\n')
  } else {
    response.writeHead(404).end('There is / to GET and /thanks to POST.\n')
  }
})

server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close(async () => process.exit((await events.close()) ? 0 : 1))
    server.closeAllConnections()
  })
}
