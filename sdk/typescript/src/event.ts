/** From a call to the JSON of one event: docs/sdk-contract.md, "The event". */

export const EVENT_ID_CHARS_MAX = 100
export const EVENT_TYPE_CHARS_MAX = 256
/** Of an event's JSON: what the gate takes, unless it is set up otherwise. */
export const EVENT_BYTES_MAX = 256 * 1024
const SENT_AT_BYTES = ',"sent_at":"2026-11-23T10:00:00.123Z"}'.length

export type Json = string | number | boolean | null | undefined | Date | readonly Json[] | { readonly [name: string]: Json }
/** Properties or a context. */
export type JsonObject = { readonly [name: string]: Json }

/** Who and when, where the client does not know it by itself. */
export interface CallOptions {
  userId?: string | number | undefined
  anonymousId?: string | number | undefined
  sessionId?: string | number | undefined
  /** Of a page, a screen, a goal. */
  name?: string | undefined
  /** When it happened, if that is not now: a `Date`, milliseconds since 1970, or a text, which is for the gate to read. */
  eventTime?: Date | number | string | undefined
  /** Of 1 to 100 characters, where the application has one of its own. */
  eventId?: string | undefined
  context?: JsonObject | undefined
}

/** What a call was given cannot be sent. */
export class Unsendable extends Error {
  constructor(
    readonly code: 'invalid' | 'too_large',
    message: string,
  ) {
    super(message)
  }
}

/** A UUIDv7 of milliseconds since 1970 and 10 random bytes, of which 74 bits are used (RFC 9562, 5.7). */
export function eventIdOf(millis: number, random: Uint8Array): string {
  const time = Math.floor(millis).toString(16).padStart(12, '0').slice(-12)
  let hex = ''
  for (let place = 0; place < 10; place++) {
    let byte = random[place] as number
    if (place === 0) byte = (byte & 0x0f) | 0x70
    if (place === 2) byte = (byte & 0x3f) | 0x80
    hex += HEX[byte]
  }
  return `${time.slice(0, 8)}-${time.slice(8)}-${hex.slice(0, 4)}-${hex.slice(4, 8)}-${hex.slice(8)}`
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Milliseconds since 1970 as `2026-11-23T10:00:00.123Z`. */
export function timeText(millis: number): string {
  return new Date(millis).toISOString()
}

/** How many bytes a text has in UTF-8. */
export type ByteLength = (text: string) => number

/**
 * The event's id, and its JSON without the brace at its end: `sent_at` is written when it is sent.
 *
 * `context` is JSON already, and left out where it is empty.
 *
 * @throws {Unsendable}
 */
export function eventText(
  eventType: string,
  properties: JsonObject | undefined | null,
  options: CallOptions,
  context: string,
  now: number,
  random: Uint8Array,
  byteLength: ByteLength,
): [string, string] {
  if (typeof eventType !== 'string' || !isWithin(eventType, EVENT_TYPE_CHARS_MAX)) {
    throw new Unsendable('invalid', `the event type must be a text of 1 to ${EVENT_TYPE_CHARS_MAX} characters`)
  }
  let id = options.eventId
  if (id === undefined || id === null || id === '') id = eventIdOf(now, random)
  else {
    id = wellFormed(String(id))
    if (!isWithin(id, EVENT_ID_CHARS_MAX)) {
      throw new Unsendable('invalid', `the event id has more than ${EVENT_ID_CHARS_MAX} characters`)
    }
  }
  const when = options.eventTime === undefined ? timeText(now) : eventTimeText(options.eventTime)
  let text = `{"event_id":${quoted(id)},"event_type":${quoted(eventType)},"event_time":${quoted(when)}`
  text += field('user_id', options.userId) + field('anonymous_id', options.anonymousId) + field('session_id', options.sessionId) + field('name', options.name)
  if (properties !== undefined && properties !== null) {
    const written = objectText('properties', properties)
    if (written !== '{}') text += `,"properties":${written}`
  }
  if (context !== '') text += `,"context":${context}`
  // A character has at most three bytes for each of its units: mostly there is nothing to count.
  if (text.length * 3 + SENT_AT_BYTES > EVENT_BYTES_MAX) {
    const bytes = byteLength(text) + SENT_AT_BYTES
    if (bytes > EVENT_BYTES_MAX) throw new Unsendable('too_large', `the event has ${bytes} bytes, more than ${EVENT_BYTES_MAX}`)
  }
  return [id, text]
}

/** The whole event. */
export function withSentAt(text: string, sentAt: string): string {
  return `${text},"sent_at":"${sentAt}"}`
}

/** @throws {Unsendable} where it is none. */
export function objectOf(name: string, value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Unsendable('invalid', `${name} must be an object`)
  }
  return value as JsonObject
}

/**
 * The JSON of properties or a context.
 *
 * @throws {Unsendable} where they are none.
 */
export function objectText(name: string, value: JsonObject): string {
  objectOf(name, value)
  let text: string
  try {
    if (!isFinite(value, 0)) throw new Unsendable('invalid', `${name} has a number that is not finite`)
    text = JSON.stringify(value)
    // Half of a character from outside the basic plane, as from a text that was cut.
    if (text.includes('\\ud')) text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'string' ? wellFormed(inner) : inner))
  } catch (error) {
    if (error instanceof Unsendable) throw error
    throw new Unsendable('invalid', `${name} cannot be written as JSON: ${String(error)}`)
  }
  if (text === undefined || text[0] !== '{') throw new Unsendable('invalid', `${name} must be an object`)
  return text
}

/** JSON has no infinity; written by JavaScript it would be null, which is another thing. */
function isFinite(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  // What is as deep as this is a loop, or refused by the gate; `JSON.stringify` says what it is.
  if (typeof value !== 'object' || value === null || depth > 100) return true
  for (const inner of Array.isArray(value) ? value : Object.values(value)) if (!isFinite(inner, depth + 1)) return false
  return true
}

function isWithin(text: string, chars: number): boolean {
  // Units are never fewer than characters.
  return text !== '' && (text.length <= chars || [...text].length <= chars)
}

function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd')
}

function quoted(text: string): string {
  const written = JSON.stringify(text)
  return written.includes('\\ud') ? JSON.stringify(wellFormed(text)) : written
}

function field(name: string, value: unknown): string {
  return value === undefined || value === null || value === '' ? '' : `,"${name}":${quoted(String(value))}`
}

function eventTimeText(value: Date | number | string): string {
  if (typeof value === 'string') return value
  try {
    return timeText(value instanceof Date ? value.getTime() : value)
  } catch {
    throw new Unsendable('invalid', 'eventTime is no time')
  }
}
