/** Which variation a subject sees. Pure: docs/sdk-contract.md, "Experiments". The hashing is GrowthBook's (versions 1 and 2), so subjects of a running experiment stay where they are. */

/** An experiment that this process assigns subjects in. */
export interface Experiment {
  id: string
  /** Their ids, the control first; at least two. */
  variations: readonly string[]
  /** The share of each, together 1; equal ones where nothing is said. */
  weights?: readonly number[]
  /** The share of all subjects that take part, 0 to 1. Raising it moves nobody who takes part already. */
  coverage?: number
  /** What the hash is seeded with, if not the id. */
  seed?: string
  hash_version?: 1 | 2
  /** Which id is assigned; `user_id` where nothing is said. */
  subject?: 'user_id' | 'anonymous_id'
}

const FIELDS = ['id', 'variations', 'weights', 'coverage', 'seed', 'hash_version', 'subject']

/** The same experiment, sound. @throws {RangeError} */
export function checkedExperiment(experiment: Experiment): Experiment {
  const { id, variations, weights, coverage = 1, hash_version = 2, subject = 'user_id' } = experiment
  const wrong = (what: string): never => {
    throw new RangeError(`experiment ${id}: ${what}`)
  }
  const unknown = Object.keys(experiment).find((field) => !FIELDS.includes(field))
  if (unknown) wrong(`there is no field ${unknown}; there are ${FIELDS}`)
  if (!id) wrong('it has no id')
  if (!Array.isArray(variations) || variations.length < 2 || new Set(variations).size < variations.length || !variations.every(Boolean)) wrong('variations must be at least two different ids')
  if (weights !== undefined) {
    const sum = weights.reduce((total, weight) => total + weight, 0)
    if (weights.length !== variations.length || weights.some((weight) => !(weight >= 0)) || !(Math.abs(sum - 1) <= 0.01)) wrong(`weights must be ${variations.length} shares that are 1 together`)
  }
  if (!(coverage >= 0 && coverage <= 1)) wrong('coverage must be between 0 and 1')
  if (hash_version !== 1 && hash_version !== 2) wrong('hash_version must be 1 or 2')
  if (subject !== 'user_id' && subject !== 'anonymous_id') wrong('subject must be user_id or anonymous_id')
  return experiment
}

/** What a subject sees; `undefined` where it does not take part. */
export function variationOf(experiment: Experiment, subject: string): string | undefined {
  const { id, variations, weights, coverage = 1, seed, hash_version = 2 } = experiment
  const place = hashed(seed || id, subject, hash_version)
  let start = 0
  for (const [number, variation] of variations.entries()) {
    const weight = weights?.[number] ?? 1 / variations.length
    if (place >= start && place < start + coverage * weight) return variation
    start += weight
  }
  return undefined
}

/** A number in [0, 1): in thousandths for version 1, in ten thousandths for version 2. */
export function hashed(seed: string, value: string, version: 1 | 2): number {
  return version === 1 ? (fnv32a(value + seed) % 1_000) / 1_000 : (fnv32a(String(fnv32a(seed + value))) % 10_000) / 10_000
}

/** FNV-1a of 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/), over UTF-16 code units. */
function fnv32a(text: string): number {
  let number = 0x811c9dc5
  for (let place = 0; place < text.length; place++) number = Math.imul(number ^ text.charCodeAt(place), 0x01000193)
  return number >>> 0
}

const SESSION_MS = 30 * 60 * 1_000
const REMEMBERED_MAX = 10_000

/** Which exposures have been logged: once a session, or in half an hour of a subject whose session is not known. */
export class Exposures {
  readonly #seen = new Map<string, number>()

  /** Whether it is the first one of its session; from now on it has been. */
  isFirst(experiment: string, variation: string, subject: string, session: string | undefined, now: number): boolean {
    const key = JSON.stringify([experiment, variation, subject, session ?? ''])
    const before = this.#seen.get(key)
    this.#seen.delete(key)
    this.#seen.set(key, now)
    // Beyond, the one that was looked at longest ago is forgotten, and would be logged again: the platform counts the first one only.
    if (this.#seen.size > REMEMBERED_MAX) this.#seen.delete(this.#seen.keys().next().value as string)
    return before === undefined || (session === undefined && now - before >= SESSION_MS)
  }
}
