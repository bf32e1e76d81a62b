// A real Chromium, from a package of the registry: nothing has to be installed on the machine.

import chromium from '@sparticuz/chromium'
import puppeteer from 'puppeteer-core'

export async function launch() {
  // Pages are the tests' own; a sandbox needs rights that not every machine gives.
  return puppeteer.launch({ args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'], executablePath: await chromium.executablePath(), headless: 'shell' })
}
