/**
 * What a tracking plan says of an event, before it is sent: the gate's verdicts. Needs `npm install @cfworker/json-schema`, which evaluates no code, so that it runs under every content
 * security policy.
 *
 *     import { Plan } from 'tidegate/plan'
 *     import { PLAN } from './events.js' // made by `tidegate plan codegen`
 *
 *     const client = new Tidegate({ writeKey, url, plan: new Plan(PLAN) })
 *
 * What this library cannot check (a format or a pattern that JavaScript does not have) is left to the gate.
 */

import { Validator, type OutputUnit, type Schema } from '@cfworker/json-schema'

import type { JsonObject } from './event.js'
import type { Judge, Verdict } from './types.js'

/** Told of one event at most. */
export const VIOLATIONS_MAX = 20
const POINTER_TOKEN_CHARS_MAX = 128
const FEATURE_EXPOSURE = 'feature_exposure'

/** One thing that is wrong with an event. `field` is a JSON pointer, such as `/properties/price`; empty for the event itself. */
export interface Violation {
  code: string
  field: string
  message: string
}

type Properties = Record<string, unknown>
type SchemaOf = Record<string, unknown> | boolean

/** As the plan's file has it. */
interface TypeRules {
  require_subject?: boolean
  properties?: Record<string, SchemaOf>
  required?: string[]
  additional_properties?: boolean
  schema?: SchemaOf
}

interface PlanRules {
  default_policy?: string
  unknown_types?: string
  require_subject?: boolean
  definitions?: Record<string, SchemaOf>
  types?: Record<string, TypeRules>
}

/** The rules of a plan, as the code has them that `tidegate plan codegen` makes. */
export class Plan implements Judge {
  readonly #rules: PlanRules
  readonly #types: Map<string, EventType>

  /** @throws {TypeError} where they are no rules. */
  constructor(rules: JsonObject) {
    this.#rules = rules as PlanRules
    const { types = {}, definitions = {} } = this.#rules
    this.#types = new Map(Object.entries(types).map(([name, type]) => [name, new EventType(type, definitions)]))
  }

  /** What is wrong with an event; a property that is null counts as absent. */
  check(eventType: string, hasSubject: boolean, properties: Properties): Violation[] {
    const known = this.#types.get(eventType)
    const found: Violation[] = []
    if (!known && this.#rules.unknown_types === 'violation') {
      found.push({ code: 'unknown_event_type', field: '/event_type', message: 'is not in the tracking plan; add the type to the plan, or correct its spelling' })
    }
    // Who saw a variation is what an exposure says, so one without a subject says nothing, whatever the plan.
    const isDemanded = known?.requiresSubject ?? this.#rules.require_subject ?? false
    if ((isDemanded || eventType === FEATURE_EXPOSURE) && !hasSubject) {
      found.push({ code: 'missing_subject', field: '', message: 'has neither a user id nor an anonymous id; send at least one' })
    }
    if (known) found.push(...known.check(Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== null))))
    return found.slice(0, VIOLATIONS_MAX)
  }

  /** What the client asks of the JSON of an event. */
  judge(text: string): Verdict | undefined {
    const { event_type, user_id, anonymous_id, properties } = JSON.parse(text) as { event_type: string; user_id?: string; anonymous_id?: string; properties?: Properties }
    const found = this.check(event_type, user_id !== undefined || anonymous_id !== undefined, properties ?? {})
    const [first] = found
    if (!first) return undefined
    const told = found.map((violation) => `${violation.field} ${violation.message}`.trim()).join('; ')
    const isRejected = this.#rules.default_policy === 'reject'
    return { code: first.code, message: isRejected ? told : `an event breaks the tracking plan (${first.code}): ${told}`, isRejected }
  }
}

/** One event type. */
class EventType {
  readonly requiresSubject: boolean | undefined
  readonly #properties: Map<string, Validator>
  readonly #required: string[]
  readonly #allowsOthers: boolean
  readonly #whole: Validator | undefined

  constructor(rules: TypeRules, definitions: Record<string, SchemaOf>) {
    this.requiresSubject = rules.require_subject
    this.#properties = new Map(Object.entries(rules.properties ?? {}).map(([name, schema]) => [name, validator(schema, definitions)]))
    this.#required = rules.required ?? []
    this.#allowsOthers = rules.additional_properties ?? true
    this.#whole = rules.schema === undefined ? undefined : validator(rules.schema, definitions)
  }

  check(properties: Properties): Violation[] {
    const found: Violation[] = []
    for (const name of this.#required) {
      if (!Object.hasOwn(properties, name)) found.push({ code: 'missing_property', field: `/properties/${token(name)}`, message: 'is required by the tracking plan' })
    }
    for (const [name, value] of Object.entries(properties)) {
      const field = `/properties/${token(name)}`
      const known = this.#properties.get(name)
      if (known) found.push(...violations(known, field, value))
      else if (!this.#allowsOthers) found.push({ code: 'unknown_property', field, message: 'is not in the tracking plan for this type' })
    }
    if (this.#whole) found.push(...violations(this.#whole, '/properties', properties))
    return found
  }
}

function validator(schema: SchemaOf, definitions: Record<string, SchemaOf>): Validator {
  // A copy: the library writes into it.
  const own = structuredClone(typeof schema === 'object' ? { $defs: definitions, ...schema } : schema)
  return new Validator(own as Schema, '2020-12', false)
}

/** Keywords of schemas of which the errors of their parts say more. */
const THROUGH = ['$ref', '$recursiveRef', 'additionalItems', 'allOf', 'dependentSchemas', 'if', 'items', 'patternProperties', 'prefixItems', 'properties']
/** Keywords of which the errors of their parts say nothing. */
const WHOLE = ['anyOf', 'contains', 'oneOf', 'propertyNames']
const OTHERS = ['additionalProperties', 'unevaluatedItems', 'unevaluatedProperties']
const CODES: Record<string, string> = {
  required: 'missing_property',
  dependentRequired: 'missing_property',
  type: 'wrong_type',
  enum: 'not_in_enum',
  const: 'not_in_enum',
  additionalProperties: 'unknown_property',
  unevaluatedProperties: 'unknown_property',
}

function violations(known: Validator, field: string, value: unknown): Violation[] {
  let units: OutputUnit[]
  try {
    units = known.validate(value).errors
  } catch {
    // Such as a pattern that JavaScript cannot read.
    return []
  }
  const found = new Map<string, Violation>()
  for (let place = 0; place < units.length; place++) {
    const unit = units[place] as OutputUnit
    const { keyword, error } = unit
    if (THROUGH.includes(keyword)) continue
    if (OTHERS.includes(keyword)) {
      // What it holds for may be described, or not allowed at all.
      if (units[place + 1]?.keyword !== 'false') continue
      place++
    }
    if (WHOLE.includes(keyword)) {
      const isPart = (part: OutputUnit | undefined) => part && (part.keyword === 'false' || part.keywordLocation.startsWith(`${unit.keywordLocation}/`))
      while (isPart(units[place + 1])) place++
    }
    const code = CODES[keyword] ?? 'violates_schema'
    let at = field + unit.instanceLocation.slice(1)
    // The name is in the text alone.
    const missing = code === 'missing_property' ? /does not have (?:required property )?"(.*)"\.$/s.exec(error)?.[1] : undefined
    if (missing !== undefined) at += `/${token(missing)}`
    const message = missing === undefined ? `does not fit the tracking plan: ${keyword}` : 'is required by the tracking plan'
    found.set(`${code} ${at} ${keyword}`, { code, field: at, message })
  }
  return [...found.values()]
}

/** A key as one part of a JSON pointer (RFC 6901). */
function token(key: string): string {
  const chars = [...key]
  const cut = chars.length > POINTER_TOKEN_CHARS_MAX ? `${chars.slice(0, POINTER_TOKEN_CHARS_MAX).join('')}…` : key
  return cut.replaceAll('~', '~0').replaceAll('/', '~1')
}
