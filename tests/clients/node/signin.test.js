// Signing in to the console in a real Chromium: with an account at a real OpenID Connect provider, and with a token. What an admin changes there holds.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'

import Provider from 'oidc-provider'

import { SHOWN, checkForAll, launch, text, visit } from './browser.js'
import { Server, freePort } from './server.js'

/** Who is known to the provider, and what they belong to. */
const PEOPLE = { anna: ['platform', 'staff'], rita: ['staff'], otto: ['guests'] }

let server
let browser
let url
let provider

before(async () => {
  const [port, issuerPort] = [await freePort(), await freePort()]
  url = `http://127.0.0.1:${port}`
  const issuer = `http://127.0.0.1:${issuerPort}`
  const accounts = new Provider(issuer, {
    clients: [{ client_id: 'tidegate', token_endpoint_auth_method: 'none', redirect_uris: [`${url}/sign-in/return`] }],
    cookies: { keys: ['of the tests'] },
    claims: { openid: ['sub'], email: ['email'], profile: ['groups'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com`, groups: PEOPLE[id] ?? [] }) }),
  })
  provider = accounts.listen(issuerPort, '127.0.0.1')
  await once(provider, 'listening')
  server = await Server.start({
    TIDEGATE_CONSOLE__LISTEN: `127.0.0.1:${port}`,
    TIDEGATE_CONSOLE__OIDC__ISSUER: issuer,
    TIDEGATE_CONSOLE__OIDC__CLIENT_ID: 'tidegate',
    TIDEGATE_CONSOLE__OIDC__ADMIN: 'platform',
    TIDEGATE_CONSOLE__OIDC__READ: 'staff',
  })
  await send(server.key, { event_id: 'first', event_type: 'page_view', anonymous_id: 'a', properties: { url: '/' } }, 200)
  await server.untilRows('silver.events', 1)
  browser = await launch()
})
after(async () => {
  await browser?.close()
  provider?.closeAllConnections()
  provider?.close()
  await server?.stop()
})

async function send(key, event, status) {
  const authorization = `Basic ${Buffer.from(`${key}:`).toString('base64')}`
  const answer = await fetch(`${server.url}/v1/events`, { method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify([event]) })
  assert.equal(answer.status, status, await answer.text())
}

/** Goes to a page as nobody, and signs in with the provider, in a browser of one's own. */
async function comes(t, who, path) {
  const own = await browser.createBrowserContext()
  t.after(() => own.close())
  const page = await visit(t, own, url + path)
  assert.equal(await text(page, 'h1'), 'Sign in')
  await Promise.all([page.waitForNavigation(), page.click('a.button')])
  await page.type('input[name=login]', who)
  await page.type('input[name=password]', 'anything')
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')])
  // What is told to the console has to be agreed to.
  await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')])
  // What the provider's own pages lack is not ours.
  page.problems.length = 0
  return [page, own]
}

test('an admin signs in with the provider, makes a key and revokes it', async (t) => {
  const [page] = await comes(t, 'anna', '/sources?from=test')
  assert.equal(page.url(), `${url}/sources?from=test`)
  assert.match(await text(page, '.visitor'), /anna@example\.com\s*admin/)
  await page.type('input[name=source]', 'app')
  await Promise.all([page.waitForNavigation(), page.click('form[action="/sources/add"] button')])
  const key = await text(page, '#new-key')
  await send(key, { event_id: 'second', event_type: 'page_view', anonymous_id: 'a' }, 200)
  // What cannot be undone is asked about.
  page.once('dialog', (dialog) => dialog.dismiss())
  await page.click('button[aria-label="Revoke all keys of app"]')
  assert.ok(await page.$('button[aria-label="Revoke all keys of app"]'))
  page.once('dialog', (dialog) => dialog.accept())
  await Promise.all([page.waitForNavigation(), page.click('button[aria-label="Revoke all keys of app"]')])
  assert.match(await text(page, '[role=status]'), /Revoked 1 key of app/)
  assert.deepEqual(page.problems, [])
  await Promise.all([page.waitForNavigation(), page.click('.visitor button')])
  assert.equal(await text(page, 'h1'), 'Sign in')
})

test('who may only read is offered nothing else, and who may not read is not let in', async (t) => {
  const [page, own] = await comes(t, 'rita', '/sources')
  assert.match(await text(page, '.visitor'), /rita@example\.com\s*read/)
  assert.equal(await page.$('form[action="/sources/add"]'), null)
  const [cookie] = (await own.cookies()).filter((cookie) => cookie.name === 'tidegate_session')
  assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax', JSON.stringify(cookie))
  const [refused] = await comes(t, 'otto', '/sources')
  assert.match(await text(refused, '[role=alert]'), /may not read here/)
  assert.equal(await refused.$('nav'), null)
})

test('an admin signs in with a token and begins a replay', async (t) => {
  const token = (await server.command('token', 'add', 'tom', '--role', 'admin')).trim()
  await checkForAll(t, browser, url, '/sign-in?next=/jobs')
  const page = await visit(t, browser, `${url}/jobs`)
  await page.type('input[name=token]', 'tc_wrong')
  await Promise.all([page.waitForNavigation(), page.click('form button')])
  assert.match(await text(page, '[role=alert]'), /This is no token/)
  await page.type('input[name=token]', token)
  await Promise.all([page.waitForNavigation(), page.click('form button')])
  assert.equal(page.url(), `${url}/jobs`)
  await page.click('summary')
  await Promise.all([page.waitForNavigation(), page.click('form[action="/jobs/replay"] button')])
  // The page follows it without being loaded again.
  await page.waitForSelector('tr[data-state=done]', { timeout: 120_000 })
  assert.match(await text(page, 'tr[data-state=done]'), /replay --into silver_rebuild.*tom/s)
  const [rebuilt] = await server.query('SELECT count(*) AS n FROM silver_rebuild.events')
  const [live] = await server.query('SELECT count(*) AS n FROM silver.events')
  assert.equal(rebuilt.n, live.n)
  for (const path of ['/', '/sources', '/jobs', '/dead-letters']) await checkForAll(t, browser, url, path)
  // The token ends, and with it whoever is signed in by it.
  await server.command('token', 'revoke', 'tom')
  await page.goto(`${url}/jobs`)
  assert.equal(await text(page, 'h1'), 'Sign in')
  await page.waitForSelector('input[name=token]', SHOWN)
})
