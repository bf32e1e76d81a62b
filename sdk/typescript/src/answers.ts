/** What an answer of the gate means for each event of a request, and how long to wait for the next attempt. Pure: docs/sdk-contract.md, "What an answer means". */

const PAUSE_BASE_SECONDS = 0.5
const PAUSE_MAX_SECONDS = 60
const RETRY_AFTER_MAX_SECONDS = 300
const FINAL = [400, 401, 403, 404, 422]

/** The gate refused an event by name. */
export interface Rejected {
  code: string
  message: string
}

/** What becomes of one event. */
export type Fate = 'delivered' | 'again' | Rejected

/** Of one answer: the fate of each event in its order, and the seconds that the gate asked for; or `split`: the request is too large, send it in halves. */
export type Meaning = { split: false; fates: Fate[]; retryAfter?: number | undefined } | { split: true }

/** Of the answer to a request of so many events. */
export function meaning(sent: number, status: number, body: string, retryAfter?: string | null): Meaning {
  const document = parsed(body)
  const all = (fate: Fate): Fate[] => new Array<Fate>(sent).fill(fate)
  if (status === 200 && document['success'] === true) return { split: false, fates: named(document, all('delivered')) }
  if (status === 413) return { split: true }
  const code = document['code']
  if (FINAL.includes(status) && typeof code === 'string' && code !== 'incomplete_body') {
    const fates = named(document, all('again'))
    return { split: false, fates: fates.every((fate) => fate === 'again') ? all({ code, message: text(document['message']) }) : fates }
  }
  return { split: false, fates: all('again'), retryAfter: status === 429 || status === 503 ? seconds(retryAfter) : undefined }
}

/** Seconds to wait before an attempt, 0 being the first one; `random` is in [0, 1). */
export function pause(attempt: number, retryAfter: number | undefined, random: number): number {
  if (attempt === 0) return 0
  const jitter = random * Math.min(PAUSE_MAX_SECONDS, PAUSE_BASE_SECONDS * 2 ** (attempt - 1))
  return jitter + (retryAfter === undefined ? 0 : Math.min(Math.max(retryAfter, 1), RETRY_AFTER_MAX_SECONDS))
}

function parsed(body: string): Record<string, unknown> {
  try {
    const document: unknown = JSON.parse(body)
    return typeof document === 'object' && document !== null ? (document as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

/** Puts in those that are refused by name. */
function named(document: Record<string, unknown>, fates: Fate[]): Fate[] {
  const notices = document['rejected']
  for (const notice of Array.isArray(notices) ? (notices as Record<string, unknown>[]) : []) {
    const index = notice?.['index']
    if (typeof index === 'number' && index in fates) fates[index] = { code: text(notice['code']), message: `${text(notice['field'])} ${text(notice['message'])}`.trim() }
  }
  return fates
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function seconds(value: string | null | undefined): number | undefined {
  return value && /^\s*\d+\s*$/.test(value) ? Number(value) : undefined
}
