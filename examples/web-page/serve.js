// A site with one page that tells Tidegate what its visitors do, by a path of its own: the browser sends to /t, and this server passes it on, so that nothing that blocks other hosts is in the way.
//
//     npm install && TIDEGATE_KEY=… node serve.js

import { readFile } from 'node:fs/promises'
import { createServer, request as ask } from 'node:http'

const key = process.env.TIDEGATE_KEY ?? 'no key'
const gate = new URL(process.env.TIDEGATE_URL ?? 'http://127.0.0.1:8099')
const sdk = new URL('./node_modules/tidegate/dist/', import.meta.url)

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://site')
  if (pathname === '/t/v1/events' && request.method === 'POST') {
    const { authorization, 'content-type': type, 'user-agent': agent } = request.headers
    const headers = { authorization, 'content-type': type, 'user-agent': agent, 'x-forwarded-for': request.socket.remoteAddress }
    const onward = ask(new URL('/v1/events', gate), { method: 'POST', headers }, (answer) => {
      response.writeHead(answer.statusCode, { 'content-type': answer.headers['content-type'] ?? 'application/json', ...(answer.headers['retry-after'] ? { 'retry-after': answer.headers['retry-after'] } : {}) })
      answer.pipe(response)
    })
    onward.on('error', () => response.writeHead(502).end())
    request.pipe(onward)
  } else if (/^\/sdk\/\w+\.js$/.test(pathname)) {
    const text = await readFile(new URL(pathname.slice(5), sdk)).catch(() => undefined)
    response.writeHead(text ? 200 : 404, { 'content-type': 'text/javascript' }).end(text)
  } else if (pathname === '/') {
    const page = await readFile(new URL('./index.html', import.meta.url), 'utf8')
    response.setHeader('content-type', 'text/html; charset=utf-8').end(page.replace('WRITE_KEY', key))
  } else response.writeHead(404).end()
})
server.listen(Number(process.env.PORT ?? 8000), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
