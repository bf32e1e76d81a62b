// A real Chromium for tests, and what every page is held to. With SCREENSHOTS set to a folder, pictures of the pages are left there.

import assert from 'node:assert/strict'
import { join } from 'node:path'

import chromium from '@sparticuz/chromium'
import axe from 'axe-core'
import puppeteer from 'puppeteer-core'

export const SHOWN = { timeout: 30_000 }
const WIDTHS = { desk: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } }

export async function launch() {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
  return puppeteer.launch({ args, executablePath: await chromium.executablePath(), headless: 'shell' })
}

/** A page in this browser; `page.problems` has what its console said was wrong. */
export async function visit(t, browser, address, width = 'desk') {
  const page = await browser.newPage()
  t.after(() => page.isClosed() || page.close())
  page.problems = []
  page.on('pageerror', (error) => page.problems.push(String(error)))
  page.on('console', (message) => message.type() === 'error' && page.problems.push(message.text()))
  await page.setViewport(WIDTHS[width])
  await page.goto(address)
  return page
}

/** Everybody can use it: with any eyes, by light and dark, on a desk and on a phone. */
export async function checkForAll(t, browser, url, path) {
  for (const width of Object.keys(WIDTHS)) {
    for (const scheme of ['light', 'dark']) {
      const page = await visit(t, browser, url + path, width)
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
      await page.evaluate(axe.source)
      const found = await page.evaluate(() => window.axe.run())
      const told = found.violations.map((violation) => `${violation.id}: ${violation.nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`)
      assert.deepEqual(told, [], `${path} ${width} ${scheme}`)
      const over = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth)
      assert.ok(over <= 0, `${path} is ${over} pixels wider than a ${width}`)
      assert.deepEqual(page.problems, [])
      if (process.env.SCREENSHOTS) {
        const name = path.replaceAll(/[^a-z-]+/g, '_').replaceAll(/^_|_$/g, '') || 'overview'
        await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}-${width}-${scheme}.png`) })
      }
      await page.close()
    }
  }
}

export const text = (page, selector) => page.$eval(selector, (element) => element.textContent)
