/** Events on disk until they are answered: docs/sdk-contract.md, "The spool". */

import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink, type FileHandle } from 'node:fs/promises'
import { createConnection, createServer, type Server } from 'node:net'
import { basename, dirname, join } from 'node:path'

import type { Spool, SpoolFile } from './types.js'

const ENDING = '.ndjson'
/** Is there while its process lives: nothing else in Node tells whether another process does. */
const LOCK = 'lock.sock'
/** Begins the name of a folder that has no lock yet. */
const UNFINISHED = '.new-'

/** A folder of this process's own in the spool, and those of processes that are no more. */
export class DiskSpool implements Spool {
  openEvents = 0
  openBytes = 0
  readonly #path: string
  readonly #bytesMax: number
  readonly #sizes = new Map<string, number>()
  #own: { path: string; lock: Server } | undefined
  #number = 0
  #handle: FileHandle | undefined
  #file: SpoolFile | undefined

  constructor(path: string, bytesMax: number) {
    this.#path = path
    this.#bytesMax = bytesMax
  }

  async adopt(): Promise<SpoolFile[]> {
    const own = await this.#folder()
    for (const name of (await readdir(this.#path)).sort()) {
      const folder = join(this.#path, name)
      if (folder === own || name.startsWith('.') || !(await isDead(folder))) continue
      // One process only can move it.
      await rename(folder, join(own, name)).catch(() => {})
    }
    const files: SpoolFile[] = []
    for (const path of await filesBelow(own)) {
      this.#sizes.set(path, (await stat(path)).size)
      files.push({ path, events: 0, first: 0 })
    }
    return files
  }

  async append(texts: string[], first: number): Promise<void> {
    const lines = Buffer.from(texts.map((text) => `${text}}\n`).join(''))
    const size = [...this.#sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
    if (size + lines.length > this.#bytesMax) throw new Error(`the spool has reached its bound of ${this.#bytesMax} bytes`)
    const file = this.#file ?? (await this.#begin(first))
    const handle = this.#handle as FileHandle
    try {
      await handle.appendFile(lines)
      await handle.sync()
      // Whoever took the folder away for one of the dead would read the file before this is in it.
      await stat(file.path)
    } catch (error) {
      // What follows must not stand behind half a line.
      await handle.truncate(this.openBytes).catch(() => {})
      throw error
    }
    file.events += texts.length
    this.openEvents = file.events
    this.openBytes += lines.length
    this.#sizes.set(file.path, this.openBytes)
  }

  async cut(): Promise<SpoolFile | undefined> {
    const [file, handle] = [this.#file, this.#handle]
    this.#file = this.#handle = undefined
    this.openEvents = this.openBytes = 0
    await handle?.close().catch(() => {})
    if (!file || file.events > 0) return file
    await this.remove(file)
    return undefined
  }

  async read(file: SpoolFile): Promise<{ events: [string, string][]; torn: number }> {
    const lines = (await readFile(file.path, 'utf8')).split('\n')
    // Each ends in a line feed: what stands behind the last one was not written whole.
    let torn = lines.pop() ? 1 : 0
    const events: [string, string][] = []
    for (const line of lines) {
      try {
        const { event_id: id } = JSON.parse(line) as { event_id: unknown }
        if (typeof id !== 'string') throw new TypeError()
        events.push([id, line.slice(0, -1)])
      } catch {
        torn++
      }
    }
    return { events, torn }
  }

  async remove(file: SpoolFile): Promise<void> {
    this.#sizes.delete(file.path)
    await unlink(file.path).catch(() => {})
    // One that was taken over is removed with the last of its files.
    const folder = dirname(file.path)
    if (folder !== this.#own?.path && (await filesBelow(folder).catch(() => [''])).length === 0) await rm(folder, { recursive: true, force: true }).catch(() => {})
  }

  async close(): Promise<void> {
    await this.cut()
    const own = this.#own
    if (!own) return
    this.#own = undefined
    if ((await filesBelow(own.path).catch(() => [''])).length === 0) await rm(own.path, { recursive: true, force: true }).catch(() => {})
    // Not before: a folder without a lock is anybody's.
    await new Promise<void>((resolve) => own.lock.close(() => resolve()))
  }

  async #folder(): Promise<string> {
    if (this.#own) return this.#own.path
    const name = `${process.pid}-${randomBytes(6).toString('hex')}`
    const [unfinished, path] = [join(this.#path, UNFINISHED + name), join(this.#path, name)]
    await mkdir(unfinished, { recursive: true, mode: 0o700 })
    const lock = createServer((connection) => connection.destroy())
    await new Promise<void>((resolve, reject) => lock.once('error', reject).listen(join(unfinished, LOCK), resolve))
    lock.unref()
    await rename(unfinished, path)
    await synced(this.#path)
    this.#own = { path, lock }
    return path
  }

  async #begin(first: number): Promise<SpoolFile> {
    const folder = await this.#folder()
    const path = join(folder, String(++this.#number).padStart(20, '0') + ENDING)
    this.#handle = await open(path, 'ax', 0o600)
    this.#sizes.set(path, 0)
    await synced(folder)
    return (this.#file = { path, events: 0, first })
  }
}

/** Whether a folder is of a process that is no more. One without a lock is none of ours. */
async function isDead(folder: string): Promise<boolean> {
  if (!(await stat(join(folder, LOCK)).catch(() => undefined))?.isSocket()) return false
  return new Promise((resolve) => {
    const connection = createConnection(join(folder, LOCK))
    connection.once('connect', () => {
      connection.destroy()
      resolve(false)
    })
    connection.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}

/** The files of a folder and of those that it took over, oldest first. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile() && entry.name.endsWith(ENDING)).map((entry) => join(entry.parentPath, entry.name))
  const depth = (path: string): number => path.split(/[\\/]/).length
  return paths.sort((a, b) => depth(b) - depth(a) || basename(dirname(a)).localeCompare(basename(dirname(b))) || a.localeCompare(b))
}

/** So that what was made in a folder is still in it after the machine failed. */
async function synced(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
